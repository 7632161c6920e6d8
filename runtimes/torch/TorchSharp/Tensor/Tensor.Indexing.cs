using System.Runtime.CompilerServices;
using TorchSharp.Native;

namespace TorchSharp;

// Index expressions: tensor[0, 2..5, mask], read and written.
public static partial class torch
{
    public unsafe partial class Tensor
    {
        [IndexerName("TensorItems")]
        public Tensor this[params TensorIndex[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        [IndexerName("TensorItems")]
        public Tensor this[params Tensor[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        [IndexerName("TensorItems")]
        public Tensor this[params long[] indices]
        {
            get => index(Singles(indices));
            set => index_put_(value, Singles(indices));
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1]
        {
            get => index(Singles([i1]));
            set => index_put_(value, Singles([i1]));
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2]
        {
            get => index(Singles([i1, i2]));
            set => index_put_(value, Singles([i1, i2]));
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2, long i3]
        {
            get => index(Singles([i1, i2, i3]));
            set => index_put_(value, Singles([i1, i2, i3]));
        }

        [IndexerName("TensorItems")]
        public Tensor this[long i1, long i2, long i3, long i4]
        {
            get => index(Singles([i1, i2, i3, i4]));
            set => index_put_(value, Singles([i1, i2, i3, i4]));
        }

        public Tensor index(params TensorIndex[] indices)
        {
            nint result;
            fixed (IndexPart* parts = Parts(indices))
                NativeMethods.Check(NativeMethods.sapo_tensor_index(Handle, parts, indices.Length, out result));
            KeepAlive(indices);
            return new Tensor(result);
        }

        public Tensor index(params Tensor[] indices) => index(Tensors(indices));

        public Tensor index_put_(Tensor value, params TensorIndex[] indices)
        {
            fixed (IndexPart* parts = Parts(indices))
                NativeMethods.Check(NativeMethods.sapo_tensor_index_put(Handle, parts, indices.Length, value.Handle));
            KeepAlive(indices);
            GC.KeepAlive(value);
            return this;
        }

        /// <summary>Accumulating needs tensors as indices, as libtorch does.</summary>
        public Tensor index_put_(Tensor value, TensorIndex[] indices, bool accumulate = false)
        {
            if (!accumulate) return index_put_(value, indices);
            if (indices.Any(index => index.Held is null))
                throw new ArgumentException("Accumulating needs every index to be a tensor.", nameof(indices));
            return Operators.index_put_.Change(this, indices.Select(index => index.Held).ToArray(), value, accumulate);
        }

        public Tensor index_put_(Tensor value, params Tensor[] indices) => index_put_(value, Tensors(indices));

        public Tensor index_put_(Tensor value, Tensor[] indices, bool accumulate = false) =>
            index_put_(value, Tensors(indices), accumulate);

        public Tensor index_put_(Scalar value, params TensorIndex[] indices)
        {
            using Tensor filler = Operators.scalar_tensor.Call(value, dtype, Argument.Default, device);
            return index_put_(filler, indices);
        }

        public Tensor index_put_(Scalar value, params Tensor[] indices) => index_put_(value, Tensors(indices));

        private static IndexPart[] Parts(TensorIndex[] indices) => Array.ConvertAll(indices, index => index.Part);

        private static TensorIndex[] Singles(long[] indices) => Array.ConvertAll(indices, index => TensorIndex.Single(index));

        private static TensorIndex[] Tensors(Tensor[] indices) => Array.ConvertAll(indices, TensorIndex.Tensor);

        private void KeepAlive(TensorIndex[] indices)
        {
            foreach (TensorIndex index in indices) GC.KeepAlive(index.Held);
            GC.KeepAlive(this);
        }
    }
}
