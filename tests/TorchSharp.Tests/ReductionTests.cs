using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Reductions and scans of [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]] unless said otherwise.</summary>
public sealed class ReductionTests
{
    private static readonly long[] None = [];

    private static Tensor X() => Grid(2, 3);

    [Fact]
    public void Sum_InAllItsForms_Adds()
    {
        Forms(X, None, [2.1], x => x.sum(), x => torch.sum(x), x => x.sum(0, 1), x => x.sum(new long[] { 0, 1 }));
        Forms(X, [3], [0.5, 0.7, 0.9], x => x.sum(0L), x => torch.sum(x, 0L), x => x.sum(new long[] { 0 }), x =>
            torch.sum(x, stackalloc long[] { 0 }));
        Forms(X, [2, 1], [0.6, 1.5], x => x.sum(1, keepdim: true), x => x.sum(stackalloc long[] { 1 }, keepdim: true), x =>
            x.sum(-1, true));
        Forms(() => Grid(1, 2, 3), None, [2.1], x => x.sum(0, 1, 2));
        Results(X, None, [6], x => x.mul(4).trunc().sum(ScalarType.Int64));
        Results(() => tensor(new[] { double.NaN, 2 }), None, [2], x => x.nansum(), x => torch.nansum(x), x => x.nanmean(), x =>
            torch.nanmean(x));
    }

    [Fact]
    public void Sum_OfType_AccumulatesInIt()
    {
        using Tensor sum = ones(3, ScalarType.BFloat16).sum(ScalarType.Float32);
        Assert.Equal(ScalarType.Float32, sum.dtype);
    }

    [Fact]
    public void Mean_InAllItsForms_Averages()
    {
        Forms(X, None, [0.35], x => x.mean(), x => torch.mean(x));
        Forms(X, [3], [0.25, 0.35, 0.45], x => x.mean([0]), x => torch.mean(x, [0]));
        Forms(X, [2, 1], [0.2, 0.5], x => x.mean([1], true, ScalarType.Float64));
    }

    [Fact]
    public void StdAndVar_InAllTheirForms_AreUnbiasedByDefault()
    {
        // Rows (-0.1, 0, 0.1) about their mean: 0.02 / 2 = 0.01; all: 2 (0.25^2 + 0.15^2 + 0.05^2) / 5 = 0.035.
        Forms(X, None, [0.035], x => x.var(), x => torch.var(x), x => x.var((0L, 1L)), x => torch.var(x, (0L, 1L)));
        Forms(X, None, [Math.Sqrt(0.035)], x => x.std(), x => torch.std(x), x => x.std((0L, 1L)), x => torch.std(x, (0L, 1L)));
        Forms(X, [2], [0.01, 0.01], x => x.var(1), x => torch.var(x, 1), x => x.var([1L]), x => torch.var(x, [1L]), x =>
            x.var(stackalloc long[] { 1 }));
        Forms(X, [2, 1], [0.1, 0.1], x => x.std(1, keepdim: true), x => torch.std(x, 1, keepdim: true), x =>
            x.std([1L], keepdim: true), x => torch.std(x, [1L], keepdim: true), x => x.std(stackalloc long[] { 1 }, keepdim: true));
        Forms(X, [2], [0.02 / 3, 0.02 / 3], x => x.var(1, unbiased: false));
        Forms(() => Grid(1, 2, 3), None, [0.035], x => x.var((0L, 1L, 2L)), x => torch.var(x, (0L, 1L, 2L)));
        Forms(() => Grid(1, 2, 3), None, [Math.Sqrt(0.035)], x => x.std((0L, 1L, 2L)), x => torch.std(x, (0L, 1L, 2L)));
        (Tensor std, Tensor mean) = X().std_mean();
        Values(std, None, [Math.Sqrt(0.035)]);
        Values(mean, None, [0.35]);
        Values(torch.std_mean(X()).mean, None, [0.35]);
    }

    [Fact]
    public void Prod_InAllItsForms_Multiplies()
    {
        Forms(X, None, [0.00072], x => x.prod(), x => torch.prod(x));
        Forms(X, [3], [0.04, 0.1, 0.18], x => x.prod(0L), x => torch.prod(x, 0L));
        Forms(X, [2, 1], [0.006, 0.12], x => x.prod(1, true));
    }

    [Fact]
    public void Extremes_InAllTheirForms_AreFound()
    {
        Forms(X, None, [0.6], x => x.max(), x => torch.max(x));
        Forms(X, None, [0.1], x => x.min(), x => torch.min(x));
        Forms(X, [3], [0.4, 0.5, 0.6], x => x.max(0).values, x => torch.max(x, 0).values, x => x.amax(0), x => torch.amax(x, [0]), x =>
            x.amax([0], false), x => x.amax(stackalloc long[] { 0 }, false), x => torch.amax(x, stackalloc long[] { 0 }));
        Forms(X, [2, 1], [0.1, 0.4], x => x.min(1, true).values, x => torch.min(x, 1, true).values, x => x.amin([1], true), x =>
            torch.amin(x, [1], true), x => x.amin(stackalloc long[] { 1 }, true), x => torch.amin(x, stackalloc long[] { 1 }, true));
        Forms(X, [2], [0.1, 0.4], x => x.amin(1));
        Results(X, [3], [1, 1, 1], x => x.max(0).indexes, x => torch.max(x, 0).indexes, x => x.argmax(0), x => torch.argmax(x, 0));
        Results(X, [2, 1], [0, 0], x => x.min(1, true).indexes, x => torch.min(x, 1, true).indexes, x => x.argmin(1, true), x =>
            torch.argmin(x, 1, true));
        Results(X, None, [5], x => x.argmax(), x => torch.argmax(x));
        Results(X, None, [0], x => x.argmin(), x => torch.argmin(x));
        Results(X, None, [0.1], x => x.aminmax().min, x => torch.aminmax(x).min);
        Results(X, [2], [0.3, 0.6], x => x.aminmax(1).max, x => torch.aminmax(x, 1).max);
        Results(() => tensor(new[] { 3.0, 1, 2 }), None, [2], x => x.median(), x => torch.median(x));
    }

    [Fact]
    public void Amax_IntoATensor_WritesThere()
    {
        using Tensor target = zeros(3, ScalarType.Float64);
        X().amax([0L], false, target);
        Values(target, [3], [0.4, 0.5, 0.6]);
    }

    [Fact]
    public void AllAnyAndCount_OfTruthValues_Tell()
    {
        Tensor Truth() => tensor(new[] { true, false, true, true }).reshape(2, 2);
        Results(Truth, None, [0], x => x.all(), x => torch.all(x));
        Results(Truth, None, [1], x => x.any(), x => torch.any(x));
        Results(Truth, [2], [0, 1], x => x.all(1), x => torch.all(x, 1));
        Results(Truth, [1, 2], [1, 1], x => x.any(0, true), x => torch.any(x, 0, true));
        Results(Truth, None, [3], x => x.count_nonzero(), x => torch.count_nonzero(x));
        Results(Truth, [2], [1, 2], x => x.count_nonzero([1]), x => torch.count_nonzero(x, [1]));
    }

    [Fact]
    public void Norm_InAllItsForms_IsThePNorm()
    {
        double two = Math.Sqrt(0.91), rowOne = Math.Sqrt(0.14), rowTwo = Math.Sqrt(0.77);
        Forms(X, None, [two], x => x.norm(), x => torch.norm(x), x => torch.norm(x, 2f));
        Forms(X, None, [2.1], x => x.norm(1f), x => torch.norm(x, 1f));
        Forms(X, [2, 1], [rowOne, rowTwo], x => x.norm(1, true), x => torch.norm(x, 1, true));
    }

    [Fact]
    public void LogSumExpAndSoftmax_OverADimension_AreNormalised()
    {
        double[] e = Array.ConvertAll(Tenths(1, 2, 3, 4, 5, 6), Math.Exp);
        double one = e[0] + e[1] + e[2], two = e[3] + e[4] + e[5];
        double[] soft = [e[0] / one, e[1] / one, e[2] / one, e[3] / two, e[4] / two, e[5] / two];
        Forms(X, [2], [Math.Log(one), Math.Log(two)], x => x.logsumexp(1), x => torch.logsumexp(x, 1));
        Forms(X, [2, 1], [Math.Log(one), Math.Log(two)], x => x.logsumexp(-1, true));
        Forms(X, [2, 3], soft, x => x.softmax(1), x => torch.softmax(x, 1), x => nn.functional.softmax(x, -1), x =>
            x.softmax(1, ScalarType.Float64));
        Forms(X, [2, 3], Array.ConvertAll(soft, Math.Log), x => x.log_softmax(1), x => nn.functional.log_softmax(x, 1));
        Forms(() => X().neg(), [2, 3], soft, x => nn.functional.softmin(x, 1));
    }

    [Fact]
    public void Scans_OverADimension_Accumulate()
    {
        Forms(X, [2, 3], [0.1, 0.3, 0.6, 0.4, 0.9, 1.5], x => x.cumsum(1), x => torch.cumsum(x, 1));
        Forms(X, [2, 3], [0.1, 0.02, 0.006, 0.4, 0.2, 0.12], x => x.cumprod(1), x => torch.cumprod(x, 1));
        Forms(() => tensor(new[] { 1.0, 3, 2 }), [3], [1, 3, 3], x => x.cummax(0).values, x => torch.cummax(x, 0).values);
        Forms(() => tensor(new[] { 2.0, 3, 1 }), [3], [2, 2, 1], x => x.cummin(0).values, x => torch.cummin(x, 0).values);
        Forms(() => tensor(new[] { 0.0, 0 }), [2], [0, Math.Log(2)], x => x.logcumsumexp(0), x => torch.logcumsumexp(x, 0));
    }
}
