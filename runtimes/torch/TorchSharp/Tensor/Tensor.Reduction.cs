using TorchSharp.Native;

namespace TorchSharp;

// Reductions and scans, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor sum(ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? type = null) =>
            Operators.sum_dim_IntList.Call(this, dim, keepdim, type);
        public Tensor sum(ScalarType? type = null) => Operators.sum.Call(this, type);
        public Tensor sum(long dim, bool keepdim = false, ScalarType? type = null) =>
            Operators.sum_dim_IntList.Call(this, new long[] { dim }, keepdim, type);
        public Tensor sum(long dim0, long dim1, bool keepdim = false, ScalarType? type = null) =>
            Operators.sum_dim_IntList.Call(this, new[] { dim0, dim1 }, keepdim, type);
        public Tensor sum(long dim0, long dim1, long dim2, bool keepdim = false, ScalarType? type = null) =>
            Operators.sum_dim_IntList.Call(this, new[] { dim0, dim1, dim2 }, keepdim, type);
        public Tensor sum(long[] dim, bool keepdim = false, ScalarType? type = null) =>
            Operators.sum_dim_IntList.Call(this, dim, keepdim, type);

        public Tensor mean() => Operators.mean.Call(this);
        public Tensor mean(long[] dimensions, bool keepdim = false, ScalarType? type = null) =>
            Operators.mean_dim.Call(this, dimensions, keepdim, type);

        public Tensor std(ReadOnlySpan<long> dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.std_dim.Call(this, dimensions, unbiased, keepdim), type);
        public Tensor std((long, long, long) dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.std_dim.Call(this, new[] { dim.Item1, dim.Item2, dim.Item3 }, unbiased, keepdim), type);
        public Tensor std((long, long) dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.std_dim.Call(this, new[] { dim.Item1, dim.Item2 }, unbiased, keepdim), type);
        public Tensor std(bool unbiased = true) => Operators.std.Call(this, unbiased);
        public Tensor std(long dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.std_dim.Call(this, new[] { dim }, unbiased, keepdim), type);
        public Tensor std(long[] dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.std_dim.Call(this, dimensions, unbiased, keepdim), type);

        public Tensor var(ReadOnlySpan<long> dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.var_dim.Call(this, dimensions, unbiased, keepdim), type);
        public Tensor var((long, long, long) dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.var_dim.Call(this, new[] { dim.Item1, dim.Item2, dim.Item3 }, unbiased, keepdim), type);
        public Tensor var((long, long) dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.var_dim.Call(this, new[] { dim.Item1, dim.Item2 }, unbiased, keepdim), type);
        public Tensor var(bool unbiased = true) => Operators.var.Call(this, unbiased);
        public Tensor var(long dim, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.var_dim.Call(this, new[] { dim }, unbiased, keepdim), type);
        public Tensor var(long[] dimensions, bool unbiased = true, bool keepdim = false, ScalarType? type = null) =>
            AsType(Operators.var_dim.Call(this, dimensions, unbiased, keepdim), type);

        public (Tensor std, Tensor mean) std_mean(bool unbiased = true) => Operators.std_mean.CallPair(this, unbiased);

        public Tensor prod(ScalarType? type = null) => Operators.prod.Call(this, type);
        public Tensor prod(long dim, bool keepdim = false, ScalarType? type = null) =>
            Operators.prod_dim_int.Call(this, dim, keepdim, type);

        public Tensor amax(ReadOnlySpan<long> dims, bool keepdim = false, Tensor? @out = null) =>
            @out is null ? Operators.amax.Call(this, dims, keepdim) : Operators.amax_out.Call(this, dims, keepdim, @out);
        public Tensor amax(long[] dims, bool keepdim = false, Tensor? @out = null) =>
            @out is null ? Operators.amax.Call(this, dims, keepdim) : Operators.amax_out.Call(this, dims, keepdim, @out);
        public Tensor amax(params long[] dims) => Operators.amax.Call(this, dims);

        public Tensor amin(ReadOnlySpan<long> dims, bool keepdim = false, Tensor? @out = null) =>
            @out is null ? Operators.amin.Call(this, dims, keepdim) : Operators.amin_out.Call(this, dims, keepdim, @out);
        public Tensor amin(long[] dims, bool keepdim = false, Tensor? @out = null) =>
            @out is null ? Operators.amin.Call(this, dims, keepdim) : Operators.amin_out.Call(this, dims, keepdim, @out);
        public Tensor amin(params long[] dims) => Operators.amin.Call(this, dims);

        public Tensor max() => Operators.max.Call(this);
        public Tensor max(Tensor other) => Operators.max_other.Call(this, other);
        public (Tensor values, Tensor indexes) max(long dim, bool keepdim = false) => Operators.max_dim.CallPair(this, dim, keepdim);

        public Tensor min() => Operators.min.Call(this);
        public Tensor min(Tensor other) => Operators.min_other.Call(this, other);
        public (Tensor values, Tensor indexes) min(long dim, bool keepdim = false) => Operators.min_dim.CallPair(this, dim, keepdim);

        public (Tensor min, Tensor max) aminmax(long? dim = null, bool keepdim = false) => Operators.aminmax.CallPair(this, dim, keepdim);

        public Tensor argmax() => Operators.argmax.Call(this);
        public Tensor argmax(long dim, bool keepdim = false) => Operators.argmax.Call(this, dim, keepdim);

        public Tensor argmin() => Operators.argmin.Call(this);
        public Tensor argmin(long dim, bool keepdim = false) => Operators.argmin.Call(this, dim, keepdim);

        public Tensor all() => Operators.all.Call(this);
        public Tensor all(long dim, bool keepdim = false) => Operators.all_dim.Call(this, dim, keepdim);

        public Tensor any() => Operators.any.Call(this);
        public Tensor any(long dim, bool keepdim = false) => Operators.any_dim.Call(this, dim, keepdim);

        public Tensor norm(float p = 2) => Operators.norm_Scalar.Call(this, p);
        public Tensor norm(int dim, bool keepdim = false, float p = 2) =>
            Operators.norm_ScalarOpt_dim.Call(this, p, new long[] { dim }, keepdim);

        public Tensor logsumexp(long dim, bool keepdim = false) => Operators.logsumexp.Call(this, new[] { dim }, keepdim);
        public Tensor softmax(long dim, ScalarType? dtype = null) => Operators.softmax_int.Call(this, dim, dtype);
        public Tensor log_softmax(long dim, ScalarType? dtype = null) => Operators.log_softmax_int.Call(this, dim, dtype);
        public Tensor cumsum(long dim, ScalarType? type = null) => Operators.cumsum.Call(this, dim, type);
        public Tensor cumprod(long dim, ScalarType? type = null) => Operators.cumprod.Call(this, dim, type);
        public (Tensor values, Tensor indexes) cummax(long dim) => Operators.cummax.CallPair(this, dim);
        public (Tensor values, Tensor indexes) cummin(long dim) => Operators.cummin.CallPair(this, dim);
        public Tensor logcumsumexp(long dim) => Operators.logcumsumexp.Call(this, dim);
        public Tensor count_nonzero(long[]? dims = null) =>
            dims is null ? Operators.count_nonzero.Call(this) : Operators.count_nonzero_dim_IntList.Call(this, dims);
        public Tensor nansum() => Operators.nansum.Call(this);
        public Tensor nanmean(int? dim = null, bool keepdim = false, ScalarType? dtype = null) =>
            Operators.nanmean.Call(this, dim is { } given ? new long[] { given } : null, keepdim, dtype);
        public Tensor median() => Operators.median.Call(this);
    }
}
