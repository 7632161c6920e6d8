using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Shapes, views and joins of [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]] unless said otherwise.</summary>
public sealed class ShapeTests
{
    private static readonly double[] InOrder = Tenths(1, 2, 3, 4, 5, 6);

    private static Tensor X() => Grid(2, 3);

    [Fact]
    public void View_AndItsKin_KeepTheOrder()
    {
        Forms(X, [3, 2], InOrder, x => x.view(3, 2), x => x.view(-1, 2), x => x.reshape(3, 2), x => torch.reshape(x, 3, 2), x =>
            x.view_as(zeros(3, 2)));
        Forms(X, [6], InOrder, x => x.flatten(), x => torch.flatten(x), x => x.ravel(), x => torch.ravel(x), x => x.flatten(0, 1));
        Forms(X, [2, 3, 1], InOrder, x => x.unsqueeze(-1), x => x.unsqueeze_(-1), x => torch.unsqueeze(x, 2), x => torch.unsqueeze_(x, 2));
        Forms(() => Grid(1, 6), [2, 3], InOrder, x => x.squeeze(0).unflatten(0, 2, 3), x =>
            torch.unflatten(torch.squeeze(x), 0, 2, 3), x => x.squeeze_().view(2, 3), x => torch.squeeze_(x, 0).view(2, 3), x =>
            x.squeeze_(0).view(2, 3), x => torch.squeeze_(x).view(2, 3));
    }

    [Fact]
    public void Transposition_InAllItsForms_Swaps()
    {
        double[] swapped = Tenths(1, 4, 2, 5, 3, 6);
        Forms(X, [3, 2], swapped, x => x.t(), x => torch.t(x), x => x.T, x => x.mT, x => x.transpose(0, 1), x =>
            torch.transpose(x, 0, 1), x => x.transpose_(0, 1), x => x.permute(1, 0), x => torch.permute(x, 1, 0), x =>
            x.permute((IEnumerable<long>)[1, 0]));
        Forms(X, [3, 2], swapped, x => x.swapaxes(0, 1), x => torch.swapaxes(x, 0, 1), x => x.swapdims(0, 1), x =>
            torch.swapdims(x, 0, 1), x => x.movedim([0], [1]), x => torch.movedim(x, [0], [1]), x => torch.movedim(x, 0, 1), x =>
            x.moveaxis([0], [1]), x => torch.moveaxis(x, [0], [1]), x => torch.moveaxis(x, 0, 1));
        Forms(X, [3, 2], swapped, x => x.t().contiguous());
        Assert.False(X().t().is_contiguous());
    }

    [Fact]
    public void Expansion_AndRepetition_Copy()
    {
        double[] twice = Tenths(1, 2, 1, 2);
        Forms(() => Grid(2), [2, 2], twice, x => x.expand(2, 2), x => x.expand([2L, -1], false), x =>
            x.expand(stackalloc long[] { 2, 2 }), x => x.expand_as(zeros(2, 2)), x => x.broadcast_to(2, 2), x =>
            torch.broadcast_to(x, 2, 2), x => x.repeat(2, 1), x => x.tile([2, 1]), x => torch.tile(x, [2, 1]));
        Forms(() => Grid(2), [4], Tenths(1, 1, 2, 2), x => x.repeat_interleave(2), x => torch.repeat_interleave(x, 2), x =>
            x.repeat_interleave(2, 0));
        Forms(() => Grid(2), [3], Tenths(1, 2, 2), x => x.repeat_interleave(tensor(new[] { 1L, 2L })), x =>
            torch.repeat_interleave(x, tensor(new[] { 1L, 2L }), 0));
    }

    [Fact]
    public void Parts_AreViewsOfTheWhole()
    {
        Forms(X, [2, 2], Tenths(2, 3, 5, 6), x => x.narrow(1, 1, 2), x => torch.narrow(x, 1, 1, 2), x => x.slice(1, 1, 3, 1));
        Forms(X, [2, 2], Tenths(1, 3, 4, 6), x => x.slice(1, 0, 3, 2));
        Forms(X, [2], Tenths(2, 5), x => x.select(1, 1), x => torch.select(x, 1, 1));
        Forms(X, [3, 2], Tenths(1, 2, 2, 3, 3, 4), x => x.as_strided([3, 2], [1, 1]), x => x.flatten().unfold(0, 2, 1).narrow(0, 0, 3));
        Forms(X, [2], Tenths(1, 5), x => x.diagonal(), x => torch.diagonal(x), x => x.diag(), x => torch.diag(x));
        Forms(() => Grid(2), [2, 2], Tenths(1, 0, 0, 2), x => x.diag(), x => x.diag_embed(), x => torch.diag_embed(x));
        using Tensor whole = X(), part = whole.narrow(0, 1, 1);
        part.zero_();
        Values(whole, [2, 3], Tenths(1, 2, 3, 0, 0, 0));
    }

    [Fact]
    public void Pieces_TogetherAreTheWhole()
    {
        Forms(X, [2, 3], InOrder, x => cat(x.split(2, 1), 1), x => cat(x.split([1L, 2L], 1), 1), x => cat(x.split(1L, 1L), 0), x =>
            cat(x.split(stackalloc long[] { 1, 1 })), x => cat(torch.split(x, [1, 2], 1), 1));
        Forms(X, [2, 3], InOrder, x => cat(x.chunk(2, 1), 1), x => cat(torch.chunk(x, 2), 0), x => cat(x.tensor_split(2, 1), 1), x =>
            cat(x.tensor_split([1L], 1), 1), x => cat(x.tensor_split(tensor(new[] { 1L }), 1), 1), x =>
            cat(torch.tensor_split(x, 2, 1), 1), x => cat(torch.tensor_split(x, [1L], 1), 1), x =>
            cat(torch.tensor_split(x, tensor(new[] { 1L }), 1), 1));
        Forms(X, [2, 3], InOrder, x => stack(x.unbind()), x => stack(torch.unbind(x, 1L), 1), x => stack(torch.unbind(x, 0)));
        Assert.Equal(2, X().split(2, 1).Length);
        Assert.Equal([2, 1], X().split(2, 1)[1].shape);
        Assert.Equal(100, Grid(100).split(1).Length);
    }

    [Fact]
    public void Joins_InAllTheirForms_PutTogether()
    {
        double[] doubled = Tenths(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6);
        Forms(X, [2, 6], doubled, x => cat([x, x], 1), x => cat((IList<Tensor>)[x, x], 1), x => cat((ReadOnlySpan<Tensor>)[x, x], 1), x =>
            concat([x, x], 1), x => concat((IList<Tensor>)[x, x], 1), x => concat((ReadOnlySpan<Tensor>)[x, x], 1), x =>
            concatenate([x, x], 1), x => concatenate((IList<Tensor>)[x, x], 1), x => concatenate((ReadOnlySpan<Tensor>)[x, x], 1), x =>
            hstack([x, x]), x => hstack((IList<Tensor>)[x, x]), x => hstack((IEnumerable<Tensor>)[x, x]), x =>
            hstack((ReadOnlySpan<Tensor>)[x, x]), x => column_stack(x, x), x => column_stack((IList<Tensor>)[x, x]), x =>
            column_stack((ReadOnlySpan<Tensor>)[x, x]));
        double[] below = [.. InOrder, .. InOrder];
        Forms(X, [4, 3], below, x => vstack([x, x]), x => vstack((IList<Tensor>)[x, x]), x => vstack((ReadOnlySpan<Tensor>)[x, x]), x =>
            row_stack(x, x), x => row_stack((IList<Tensor>)[x, x]), x => row_stack((ReadOnlySpan<Tensor>)[x, x]));
        Forms(X, [2, 2, 3], below, x => stack([x, x]));
        Forms(X, [2, 2, 3], doubled, x => stack([x, x], 1));
        Tensor[] mesh = meshgrid([Grid(2), Grid(3)]);
        Values(mesh[0], [2, 3], Tenths(1, 1, 1, 2, 2, 2));
        Values(mesh[1], [2, 3], Tenths(1, 2, 3, 1, 2, 3));
    }

    [Fact]
    public void Triangles_KeepOneSideOfTheDiagonal()
    {
        Forms(X, [2, 3], Tenths(1, 0, 0, 4, 5, 0), x => x.tril(), x => x.tril_(), x => torch.tril(x), x => torch.tril_(x));
        Forms(X, [2, 3], Tenths(0, 2, 3, 0, 0, 6), x => x.triu(1), x => x.triu_(1), x => torch.triu(x, 1), x => torch.triu_(x, 1));
    }

    [Fact]
    public void Turns_MoveElements()
    {
        Forms(X, [2, 3], Tenths(3, 1, 2, 6, 4, 5), x => x.roll(1, 1), x => x.roll([1L], [1L]), x =>
            x.roll(stackalloc long[] { 1 }, stackalloc long[] { 1 }), x => torch.roll(x, 1, 1), x => torch.roll(x, [1L], [1L]), x =>
            torch.roll(x, stackalloc long[] { 1 }, stackalloc long[] { 1 }));
        Forms(X, [2, 3], Tenths(6, 1, 2, 3, 4, 5), x => x.roll(1), x => x.roll([1L]), x => torch.roll(x, 1), x => torch.roll(x, [1L]));
        Forms(X, [2, 3], Tenths(3, 2, 1, 6, 5, 4), x => x.flip(1), x => torch.flip(x, 1), x => x.fliplr(), x => torch.fliplr(x));
        Forms(X, [2, 3], Tenths(4, 5, 6, 1, 2, 3), x => x.flipud(), x => torch.flipud(x));
        Forms(X, [3, 2], Tenths(3, 6, 2, 5, 1, 4), x => x.rot90(), x => torch.rot90(x));
    }

    [Fact]
    public void Set_ToAnotherTensor_SharesItsMemory()
    {
        using Tensor source = ones(2), tensor = zeros(3);
        tensor.set_(source);
        source.add_(1);
        Values(tensor, [2], [2, 2]);
    }
}
