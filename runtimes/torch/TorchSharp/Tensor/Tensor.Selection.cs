using TorchSharp.Native;

namespace TorchSharp;

// Selection, scattering, sorting, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor gather(long dim, Tensor index) => Operators.gather.Call(this, dim, index);

        public Tensor scatter(long dim, Tensor index, Tensor src) => Operators.scatter_src.Call(this, dim, index, src);
        public Tensor scatter_(long dim, Tensor index, Tensor src) => Operators.scatter__src.Change(this, dim, index, src);

        public Tensor scatter_add(long dim, Tensor index, Tensor src) => Operators.scatter_add.Call(this, dim, index, src);
        public Tensor scatter_add_(long dim, Tensor index, Tensor src) => Operators.scatter_add_.Change(this, dim, index, src);

        public Tensor index_select(long dim, Tensor index) => Operators.index_select.Call(this, dim, index);

        public Tensor index_add(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Operators.index_add.Call(this, dim, index, source, alpha);
        public Tensor index_add_(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Operators.index_add_.Change(this, dim, index, source, alpha);

        public Tensor index_copy(long dim, Tensor index, Tensor source) => Operators.index_copy.Call(this, dim, index, source);
        public Tensor index_copy_(long dim, Tensor index, Tensor source) => Operators.index_copy_.Change(this, dim, index, source);

        public Tensor index_fill(long dim, Tensor index, Scalar value) => Operators.index_fill_int_Scalar.Call(this, dim, index, value);
        public Tensor index_fill_(long dim, Tensor index, Scalar value) =>
            Operators.index_fill__int_Scalar.Change(this, dim, index, value);

        public Tensor masked_fill(Tensor mask, Scalar value) => Operators.masked_fill_Scalar.Call(this, mask, value);
        public Tensor masked_fill_(Tensor mask, Scalar value) => Operators.masked_fill__Scalar.Change(this, mask, value);

        public Tensor masked_select(Tensor mask) => Operators.masked_select.Call(this, mask);

        public Tensor masked_scatter(Tensor mask, Tensor value) => Operators.masked_scatter.Call(this, mask, value);
        public Tensor masked_scatter_(Tensor mask, Tensor value) => Operators.masked_scatter_.Change(this, mask, value);

        public Tensor take(Tensor index) => Operators.take.Call(this, index);

        public Tensor take_along_dim(Tensor indices) => Operators.take_along_dim.Call(this, indices);
        public Tensor take_along_dim(Tensor indices, long dim) => Operators.take_along_dim.Call(this, indices, dim);

        public Tensor where(Tensor condition, Tensor y) => Operators.where_self.Call(condition, this, y);
        public Tensor nonzero() => Operators.nonzero.Call(this);
        public Tensor argwhere() => Operators.argwhere.Call(this);
        public (Tensor Values, Tensor Indices) sort(long dim = -1, bool descending = false, bool stable = false) =>
            Operators.sort_stable.CallPair(this, stable, dim, descending);
        public Tensor argsort(long dim = -1, bool descending = false) => Operators.argsort.Call(this, dim, descending);
        public (Tensor values, Tensor indexes) topk(int k, int dim = -1, bool largest = true, bool sorted = true) =>
            Operators.topk.CallPair(this, (long)k, (long)dim, largest, sorted);
        public (Tensor values, Tensor indices) kthvalue(long k, long? dim, bool keepdim = false) =>
            Operators.kthvalue.CallPair(this, k, dim ?? -1, keepdim);
        public Tensor msort() => Operators.msort.Call(this);
        public Tensor bincount(Tensor weights, long minlength = 0) => Operators.bincount.Call(this, weights, minlength);
        public Tensor bucketize(Tensor boundaries, bool outInt32 = false, bool right = false) =>
            Operators.bucketize_Tensor.Call(this, boundaries, outInt32, right);
        public Tensor select_scatter(Tensor src, long dim, long index) => Operators.select_scatter.Call(this, src, dim, index);
        public Tensor slice_scatter(Tensor src, long dim = 0, long? start = null, long? end = null, long step = 1) =>
            Operators.slice_scatter.Call(this, src, dim, start, end, step);
    }
}
