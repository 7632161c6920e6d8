using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Sums the gradients that reach a block's keys and values, from its own queries and from blocks that see it as their prefix.</summary>
/// <param name="Keys">[gKG, T, D]: dL/dkeys.</param>
/// <param name="Values">[gKG, T, D]: dL/dvalues.</param>
internal sealed record KeyValueGradient(Tensor Keys, Tensor Values) : IDisposable
{
    /// <summary>Sums for a block with such keys, 0 at first. The caller disposes them.</summary>
    public static KeyValueGradient For(Tensor keys) => new(keys.zeros_like().DetachFromDisposeScope(), keys.zeros_like().DetachFromDisposeScope());

    /// <summary>One head's part, in the same memory; it belongs to the present dispose scope.</summary>
    /// <param name="head">Group * key heads + key head.</param>
    /// <param name="rows">Rows per group.</param>
    public KeyValueGradient Of(int head, int rows) => new(Keys.narrow(0, (long)head * rows, rows), Values.narrow(0, (long)head * rows, rows));

    /// <summary>Adds the batched product left x right to the rows of <see cref="Keys"/> from <paramref name="first"/> on.</summary>
    public void AddKeys(Tensor left, Tensor right, int first) => Add(Keys, left, right, first);

    /// <summary>Adds the batched product left x right to the rows of <see cref="Values"/> from <paramref name="first"/> on.</summary>
    public void AddValues(Tensor left, Tensor right, int first) => Add(Values, left, right, first);

    /// <inheritdoc />
    public void Dispose()
    {
        Keys.Dispose();
        Values.Dispose();
    }

    private static void Add(Tensor sum, Tensor left, Tensor right, int first)
    {
        using var scope = NewDisposeScope();
        sum.narrow(1, first, left.shape[1]).add_(left.bmm(right));
    }
}
