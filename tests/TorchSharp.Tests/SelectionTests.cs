using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Selection, scattering and sorting of [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]] unless said otherwise.</summary>
public sealed class SelectionTests
{
    private static Tensor X() => Grid(2, 3);

    private static Tensor Index(params long[] numbers) => tensor(numbers);

    [Fact]
    public void Gather_AndIndexSelect_Pick()
    {
        Tensor Picks() => Index(2, 0, 0, 1).reshape(2, 2);
        Forms(X, [2, 2], Tenths(3, 1, 4, 5), x => x.gather(1, Picks()), x => torch.gather(x, 1, Picks()), x =>
            torch.gather(x, 1, Picks(), sparse_grad: false), x => x.take_along_dim(Picks(), 1), x => torch.take_along_dim(x, Picks(), 1));
        Forms(X, [2, 4], Tenths(3, 1, 1, 2, 6, 4, 4, 5), x => x.index_select(1, Index(2, 0, 0, 1)), x =>
            torch.index_select(x, 1, Index(2, 0, 0, 1)));
        Forms(X, [3], Tenths(6, 1, 1), x => x.take(Index(5, 0, 0)), x => torch.take(x, Index(5, 0, 0)), x =>
            x.take_along_dim(Index(5, 0, 0)));
    }

    [Fact]
    public void Scatter_InAllItsForms_Writes()
    {
        Tensor To() => Index(0, 2, 1, 0).reshape(2, 2);
        Tensor From() => Grid(2, 2).mul(10);
        Forms(X, [2, 3], [1, 0.2, 2, 4, 3, 0.6], x => x.scatter(1, To(), From()), x => x.scatter_(1, To(), From()), x =>
            torch.scatter(x, 1, To(), From()), x => torch.scatter_(x, 1, To(), From()));
        Forms(X, [2, 3], [1.1, 0.2, 2.3, 4.4, 3.5, 0.6], x => x.scatter_add(1, To(), From()), x => x.scatter_add_(1, To(), From()), x =>
            torch.scatter_add(x, 1, To(), From()), x => torch.scatter_add_(x, 1, To(), From()));
        Gradient(source => X().scatter_add(1, To(), source), From());
    }

    [Fact]
    public void IndexAdd_AndItsKin_WriteRows()
    {
        Tensor Rows() => ones(3, 3, ScalarType.Float64);
        Forms(X, [2, 3], [1.1, 1.2, 1.3, 2.4, 2.5, 2.6], x => x.index_add(0, Index(1, 0, 1), Rows(), 1), x =>
            x.index_add_(0, Index(1, 0, 1), Rows(), 1), x => torch.index_add(x, 0, Index(1, 0, 1), Rows(), 1), x =>
            torch.index_add_(x, 0, Index(1, 0, 1), Rows(), 1));
        Forms(X, [2, 3], [0.6, 0.7, 0.8, 1.4, 1.5, 1.6], x => x.index_add(0, Index(1, 0, 1), Rows(), 0.5));
        Gradient(rows => X().index_add(0, Index(1, 0, 1), rows, 2), Grid(3, 3));
        Forms(X, [2, 3], [0.1, 0.2, 0.3, 1, 1, 1], x => x.index_copy(0, Index(1), Rows().narrow(0, 0, 1)), x =>
            x.index_copy_(0, Index(1), Rows().narrow(0, 0, 1)), x => torch.index_copy(x, 0, Index(1), Rows().narrow(0, 0, 1)), x =>
            torch.index_copy_(x, 0, Index(1), Rows().narrow(0, 0, 1)));
        Forms(X, [2, 3], [7, 0.2, 7, 7, 0.5, 7], x => x.index_fill(1, Index(0, 2), 7), x => x.index_fill_(1, Index(0, 2), 7), x =>
            torch.index_fill(x, 1, Index(0, 2), 7), x => torch.index_fill_(x, 1, Index(0, 2), 7));
        Forms(X, [2, 3], [1, 0.2, 0.3, 1, 0.5, 0.6], x => x.select_scatter(ones(2, ScalarType.Float64), 1, 0), x =>
            torch.select_scatter(x, ones(2, ScalarType.Float64), 1, 0));
        Forms(X, [2, 3], [0.1, 1, 1, 0.4, 1, 1], x => x.slice_scatter(ones(2, 2, ScalarType.Float64), 1, 1), x =>
            torch.slice_scatter(x, ones(2, 2, ScalarType.Float64), 1, 1));
    }

    [Fact]
    public void Masks_ChooseElements()
    {
        Tensor Mask() => X() > (Scalar)0.35;
        Forms(X, [2, 3], [0.1, 0.2, 0.3, 9, 9, 9], x => x.masked_fill(Mask(), 9), x => x.masked_fill_(Mask(), 9));
        Forms(X, [3], Tenths(4, 5, 6), x => x.masked_select(Mask()), x => torch.masked_select(x, Mask()));
        Forms(X, [2, 3], [0.1, 0.2, 0.3, 1, 1, 1], x => x.masked_scatter(Mask(), ones(3, ScalarType.Float64)), x =>
            x.masked_scatter_(Mask(), ones(3, ScalarType.Float64)));
        Forms(X, [2, 3], [0, 0, 0, 0.4, 0.5, 0.6], x => x.where(Mask(), zeros_like(x)), x => torch.where(Mask(), x, zeros_like(x)));
        Results(X, [3], [1, 1, 1], _ => torch.where(Mask())[0]);
        Results(X, [3, 2], [1, 0, 1, 1, 1, 2], _ => Mask().nonzero(), _ => torch.nonzero(Mask()), _ => Mask().argwhere(), _ =>
            torch.argwhere(Mask()), _ => stack(Mask().nonzero_as_list(), 1));
    }

    [Fact]
    public void Sorting_InAllItsForms_Orders()
    {
        Tensor Mixed() => tensor(new[] { 3.0, 1, 2 });
        Forms(Mixed, [3], [1, 2, 3], x => x.sort().Values, x => torch.sort(x).values, x => x.msort(), x => torch.msort(x));
        Forms(Mixed, [3], [3, 2, 1], x => x.sort(0, descending: true).Values, x => torch.sort(x, 0, descending: true, stable: true).values);
        Results(Mixed, [3], [1, 2, 0], x => x.sort().Indices, x => torch.sort(x).indices, x => x.argsort(), x => torch.argsort(x));
        Forms(Mixed, [2], [3, 2], x => x.topk(2).values, x => torch.topk(x, 2).values);
        Results(Mixed, [2], [1, 2], x => x.topk(2, largest: false).indexes, x => torch.topk(x, 2, largest: false).indices);
        Forms(Mixed, [], [2], x => x.kthvalue(2, 0).values, x => torch.kthvalue(x, 2, 0).values);
    }

    [Fact]
    public void Binning_CountsAndPlaces()
    {
        Results(() => Index(1, 3, 1), [4], [0, 2, 0, 1], x => torch.bincount(x));
        Results(() => Index(1, 3, 1), [5], [0, 1.5, 0, 0.25, 0], x => x.bincount(tensor(new[] { 0.5, 0.25, 1 }), 5));
        Results(() => tensor(new[] { 0.5, 1, 2.5 }), [3], [0, 0, 2], x => x.bucketize(tensor(new[] { 1.0, 2 })), x =>
            torch.bucketize(x, tensor(new[] { 1.0, 2 })));
        Results(() => tensor(new[] { 0.5, 1, 2.5 }), [3], [0, 1, 2], x => x.bucketize(tensor(new[] { 1.0, 2 }), right: true));
    }
}
