using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Sums the gradients that reach a prefix's keys and values from the blocks behind it.</summary>
/// <param name="keys">The prefix's keys, for their shape.</param>
internal sealed class KeyValueGradient(Tensor keys) : IDisposable
{
    /// <summary>[gK, P, D]: dL/dkeys.</summary>
    public Tensor Keys { get; } = keys.zeros_like().DetachFromDisposeScope();

    /// <summary>[gK, P, D]: dL/dvalues.</summary>
    public Tensor Values { get; } = keys.zeros_like().DetachFromDisposeScope();

    /// <summary>Adds the batched product left x right to <see cref="Keys"/>.</summary>
    public void AddKeys(Tensor left, Tensor right) => Add(Keys, left, right);

    /// <summary>Adds the batched product left x right to <see cref="Values"/>.</summary>
    public void AddValues(Tensor left, Tensor right) => Add(Values, left, right);

    /// <inheritdoc />
    public void Dispose()
    {
        Keys.Dispose();
        Values.Dispose();
    }

    private static void Add(Tensor sum, Tensor left, Tensor right)
    {
        using var scope = NewDisposeScope();
        sum.add_(left.bmm(right));
    }
}
