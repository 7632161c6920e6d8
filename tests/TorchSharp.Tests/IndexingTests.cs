using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Index expressions on [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], read and written.</summary>
public sealed class IndexingTests
{
    private static Tensor X() => Grid(2, 3);

    [Fact]
    public void Reading_ByNumbersAndSlices_Selects()
    {
        Forms(X, [], [0.6], x => x[1, 2], x => x[-1, -1], x => x[TensorIndex.Single(1), TensorIndex.Single(2)], x => x[^1, ^1], x =>
            x.index(TensorIndex.Single(1), TensorIndex.Single(-1)));
        Forms(X, [3], Tenths(4, 5, 6), x => x[1], x => x[1, TensorIndex.Ellipsis], x => x[1, TensorIndex.Colon], x => x[1, ..]);
        Forms(X, [2], Tenths(2, 5), x => x[.., 1], x => x[TensorIndex.Ellipsis, 1], x => x[TensorIndex.Slice(), 1]);
        Forms(X, [2, 2], Tenths(1, 3, 4, 6), x => x[.., TensorIndex.Slice(0, 3, 2)], x => x[TensorIndex.Colon, TensorIndex.Slice(step: 2)]);
        Forms(X, [2, 2], Tenths(2, 3, 5, 6), x => x[.., 1..], x => x[.., 1..3], x => x[.., TensorIndex.Slice(1)], x =>
            x[.., (1, null)], x => x[.., ^2..]);
        Forms(X, [2, 1, 3], Tenths(1, 2, 3, 4, 5, 6), x => x[.., TensorIndex.None]);
        Forms(() => Grid(1, 1, 2), [2], Tenths(1, 2), x => x[0, 0]);
        Forms(() => Grid(1, 1, 2), [], [0.2], x => x[0, 0, 1]);
        Forms(() => Grid(1, 1, 1, 2), [], [0.2], x => x[0, 0, 0, 1]);
    }

    [Fact]
    public void Reading_ByTensors_Gathers()
    {
        Tensor Rows() => tensor(new[] { 1L, 0, 1 });
        Forms(X, [3, 3], Tenths(4, 5, 6, 1, 2, 3, 4, 5, 6), x => x[Rows()], x => x[TensorIndex.Tensor(Rows())], x => x.index(Rows()), x =>
            x.index(TensorIndex.Tensor(Rows())));
        Forms(X, [3], Tenths(5, 1, 6), x => x[Rows(), tensor(new[] { 1L, 0, 2 })]);
        Forms(X, [2], Tenths(5, 6), x => x[x.detach() > (Scalar)0.45]);
        Forms(X, [1, 2, 3], Tenths(1, 2, 3, 4, 5, 6), x => x[TensorIndex.Bool(true)]);
    }

    [Fact]
    public void Writing_ByEveryIndex_Overwrites()
    {
        Results(X, [2, 3], [0.1, 0.2, 0.3, 0.4, 0.5, 9], x => Written(x, t => t[1, 2] = tensor(9.0)), x =>
            Written(x, t => t[TensorIndex.Single(1), ^1] = tensor(9.0)), x => x.index_put_(tensor(9.0), TensorIndex.Single(1),
            TensorIndex.Single(2)), x => x.index_put_((Scalar)9.0, TensorIndex.Single(1), TensorIndex.Single(2)));
        Results(X, [2, 3], [9, 0.2, 0.3, 9, 0.5, 0.6], x => Written(x, t => t[.., 0] = tensor(9.0)));
        Results(X, [2, 3], [9, 9, 9, 0.4, 0.5, 0.6], x => Written(x, t => t[0] = tensor(9.0)), x =>
            Written(x, t => t[tensor(new[] { 0L })] = tensor(9.0)), x => x.index_put_((Scalar)9.0, tensor(new[] { 0L })), x =>
            x.index_put_(tensor(9.0), tensor(new[] { 0L })));
        Results(X, [2, 3], [0.1, 0.2, 0.3, 0.4, 9, 9], x => Written(x, t => t[t > (Scalar)0.45] = tensor(9.0)));
    }

    [Fact]
    public void Writing_WithAccumulation_AddsEveryTime()
    {
        Tensor Rows() => tensor(new[] { 0L, 0L });
        Forms(X, [2, 3], [2.1, 2.2, 2.3, 0.4, 0.5, 0.6], x => x.index_put_(ones(2, 3, ScalarType.Float64), [Rows()], accumulate: true),
            x => x.index_put_(ones(2, 3, ScalarType.Float64), [TensorIndex.Tensor(Rows())], accumulate: true));
        using Tensor t = X();
        Assert.ThrowsAny<Exception>(() => t.index_put_(tensor(1.0), [TensorIndex.Single(0)], accumulate: true));
    }

    [Fact]
    public void Reading_OutOfBounds_IsAnError()
    {
        using Tensor x = X();
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => x[2]);
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => x[0, 0, 0]);
        Assert.Throws<InvalidOperationException>(() => (Tensor)TensorIndex.Colon);
    }

    private static Tensor Written(Tensor tensor, Action<Tensor> write)
    {
        write(tensor);
        return tensor;
    }
}
