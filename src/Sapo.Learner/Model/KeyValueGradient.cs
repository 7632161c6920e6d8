using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Sums the gradients that reach a block's keys and values, from its own queries and from blocks that see it as their prefix.</summary>
/// <param name="keys">The block's keys, for their shape.</param>
internal sealed class KeyValueGradient(Tensor keys) : IDisposable
{
    /// <summary>[g*K*G, T, D]: dL/dkeys.</summary>
    public Tensor Keys { get; } = keys.zeros_like().DetachFromDisposeScope();

    /// <summary>[g*K*G, T, D]: dL/dvalues.</summary>
    public Tensor Values { get; } = keys.zeros_like().DetachFromDisposeScope();

    /// <summary>Adds the batched product left x right to the rows of <see cref="Keys"/> from <paramref name="first"/> on.</summary>
    public void AddKeys(Tensor left, Tensor right, int first = 0) => Add(Keys, left, right, first);

    /// <summary>Adds the batched product left x right to the rows of <see cref="Values"/> from <paramref name="first"/> on.</summary>
    public void AddValues(Tensor left, Tensor right, int first = 0) => Add(Values, left, right, first);

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
