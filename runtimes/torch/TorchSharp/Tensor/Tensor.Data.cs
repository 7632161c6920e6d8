using TorchSharp.Native;
using TorchSharp.Utils;

namespace TorchSharp;

// A tensor's elements, seen from managed code.
public static partial class torch
{
    public partial class Tensor
    {
        /// <summary>The elements of a contiguous CPU tensor, as they lie in memory. Valid while the tensor lives.</summary>
        public unsafe Span<byte> bytes
        {
            get
            {
                long length = NumberOfElements * ElementSize;
                RequireContiguousOnCpu();
                if (length > int.MaxValue) throw new ArgumentException("Span only supports up to int.MaxValue elements.");
                return new Span<byte>((void*)DataPointer(), (int)length);
            }
            set
            {
                if (value.Length != NumberOfElements * ElementSize) throw new ArgumentException("Mismatched data sizes in SetBytes().");
                value.CopyTo(bytes);
            }
        }

        /// <summary>The elements by index; of a tensor on another device, those of a copy.</summary>
        public TensorAccessor<T> data<T>()
            where T : unmanaged
        {
            ValidateType(typeof(T));
            return new TensorAccessor<T>(device_type == DeviceType.CPU ? this : cpu());
        }

        /// <summary>The only element.</summary>
        public T item<T>()
            where T : unmanaged
        {
            if (NumberOfElements != 1) throw new ArgumentException("Number of elements in the tensor must be 1");
            return data<T>()[0];
        }

        /// <summary>The only element, of whatever type.</summary>
        public Scalar ToScalar()
        {
            NativeValue value = Operators.item.CallScalar(this);
            return value.Kind switch
            {
                ValueKind.Double => Scalar.FromReal(BitConverter.Int64BitsToDouble(value.Bits)),
                ValueKind.Bool => value.Bits != 0,
                _ => Scalar.FromWhole(value.Bits),
            };
        }

        public bool is_nonzero()
        {
            if (NumberOfElements != 1) throw new InvalidOperationException("is_nonzero() called on non-singleton tensor");
            return Operators.is_nonzero.CallBool(this);
        }

        public T ReadCpuValue<T>(long i)
            where T : unmanaged => TensorAccessor<T>.ReadItemAt(this, i);

        public float ReadCpuSingle(long i) => ReadCpuValue<float>(i);

        public double ReadCpuDouble(long i) => ReadCpuValue<double>(i);

        public long ReadCpuInt64(long i) => ReadCpuValue<long>(i);

        public int ReadCpuInt32(long i) => ReadCpuValue<int>(i);

        public short ReadCpuInt16(long i) => ReadCpuValue<short>(i);

        public sbyte ReadCpuSByte(long i) => ReadCpuValue<sbyte>(i);

        public byte ReadCpuByte(long i) => ReadCpuValue<byte>(i);

        public bool ReadCpuBool(long i) => ReadCpuValue<bool>(i);

        public float ReadCpuFloat16(long i) => (float)ReadCpuValue<Half>(i);

        public float ReadCpuBFloat16(long i) => ReadCpuValue<BFloat16>(i).ToSingle();

        /// <summary>Writes the elements, as they lie in memory, in pieces of <paramref name="bufferSize"/> bytes.</summary>
        public unsafe void WriteBytesToStream(Stream stream, int bufferSize = 1024)
        {
            RequireContiguousOnCpu();
            byte* from = (byte*)DataPointer();
            for (long left = NumberOfElements * ElementSize; left > 0;)
            {
                int piece = (int)Math.Min(left, bufferSize);
                stream.Write(new ReadOnlySpan<byte>(from, piece));
                from += piece;
                left -= piece;
            }
            GC.KeepAlive(this);
        }

        /// <summary>Reads the elements, as they lie in memory, in pieces of <paramref name="bufferSize"/> bytes.</summary>
        public unsafe void ReadBytesFromStream(Stream stream, int bufferSize = 1024)
        {
            RequireContiguousOnCpu();
            byte* to = (byte*)DataPointer();
            for (long left = NumberOfElements * ElementSize; left > 0;)
            {
                int piece = (int)Math.Min(left, bufferSize);
                stream.ReadExactly(new Span<byte>(to, piece));
                to += piece;
                left -= piece;
            }
            GC.KeepAlive(this);
        }

        /// <summary>The address of the first element, in the memory of the tensor's device.</summary>
        internal unsafe nint DataPointer()
        {
            NativeMethods.Check(NativeMethods.sapo_tensor_data(Handle, out nint data));
            GC.KeepAlive(this);
            return data;
        }

        internal void ValidateType(Type type)
        {
            ScalarType wanted = dtype;
            if (ElementTypes.Of(type) != wanted) throw new ArgumentException($"{type.Name} is not compatible with {wanted}");
        }

        private void RequireContiguousOnCpu()
        {
            if (!is_contiguous()) throw new InvalidOperationException("Bytes() called on non-contiguous tensor.");
            if (device_type != DeviceType.CPU)
                throw new InvalidOperationException("Reading data from non-CPU memory is not supported. Move or copy the tensor to the cpu before reading.");
        }
    }
}
