using System.Text;
using TorchSharp.Native;

namespace TorchSharp;

// What a tensor is: shape, strides, element type, place.
public static partial class torch
{
    public partial class Tensor
    {
        public long Dimensions => Facts().Dimensions;

        public long ndim => Facts().Dimensions;

        public long NumberOfElements => Facts().Elements;

        public long ElementSize => Facts().ElementSize;

        public ScalarType dtype => (ScalarType)Facts().ScalarType;

        public DeviceType device_type => (DeviceType)Facts().DeviceType;

        public int device_index => Facts().DeviceIndex;

        public Device device
        {
            get
            {
                TensorFacts facts = Facts();
                return facts.DeviceType == (int)DeviceType.CPU ? new Device(DeviceType.CPU) : new Device((DeviceType)facts.DeviceType,
                    facts.DeviceIndex);
            }
        }

        public long[] shape => size();

        public bool is_cuda => device_type == DeviceType.CUDA;

        public bool is_meta => device_type == DeviceType.META;

        public bool is_leaf => Facts().IsLeaf != 0;

        public long dim() => Facts().Dimensions;

        public long numel() => Facts().Elements;

        public long element_size() => Facts().ElementSize;

        public long storage_offset() => Facts().StorageOffset;

        public bool is_contiguous() => Facts().IsContiguous != 0;

        public bool is_cpu() => device_type == DeviceType.CPU;

        public bool is_floating_point() => torch.is_floating_point(dtype);

        public bool is_integral() => torch.is_integral(dtype);

        public unsafe long[] size()
        {
            TensorFacts facts = Facts();
            long[] sizes = new ReadOnlySpan<long>(facts.Sizes, (int)facts.Dimensions).ToArray();
            GC.KeepAlive(this);
            return sizes;
        }

        public unsafe long size(int dim)
        {
            TensorFacts facts = Facts();
            long size = facts.Sizes[Wrapped(dim, facts.Dimensions)];
            GC.KeepAlive(this);
            return size;
        }

        public unsafe long[] stride()
        {
            TensorFacts facts = Facts();
            if (facts.Strides is null) throw new InvalidOperationException("The tensor has no strides: it is not a dense one.");
            long[] strides = new ReadOnlySpan<long>(facts.Strides, (int)facts.Dimensions).ToArray();
            GC.KeepAlive(this);
            return strides;
        }

        public long stride(int dim)
        {
            long[] strides = stride();
            return strides[Wrapped(dim, strides.Length)];
        }

        public unsafe bool is_pinned()
        {
            NativeMethods.Check(NativeMethods.sapo_tensor_is_pinned(Handle, out int pinned));
            GC.KeepAlive(this);
            return pinned != 0;
        }

        /// <summary>Shape, element type and device.</summary>
        public override string ToString()
        {
            if (IsInvalid) return string.Empty;
            var text = new StringBuilder("[").AppendJoin('x', shape).Append(']');
            return text.Append($", type = {dtype}, device = {device}").ToString();
        }

        internal unsafe TensorFacts Facts()
        {
            NativeMethods.Check(NativeMethods.sapo_tensor_facts(Handle, out TensorFacts facts));
            GC.KeepAlive(this);
            return facts;
        }

        private static int Wrapped(int dim, long dimensions)
        {
            if (dim < -dimensions || dim >= dimensions)
                throw new System.Runtime.InteropServices.ExternalException($"Dimension out of range (expected to be in range of [{-dimensions}, {dimensions - 1}], but got {dim})");
            return (int)(dim < 0 ? dim + dimensions : dim);
        }
    }
}
