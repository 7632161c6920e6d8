// y = x / sqrt(mean(x^2) + epsilon) * weight, over the last dimension, and its derivative, written out.
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What the backward pass of an RMS norm needs.</summary>
/// <param name="Normalized">x / root, of x's shape.</param>
/// <param name="InverseRoot">1 / sqrt(mean(x^2) + epsilon), the last dimension being 1.</param>
internal readonly record struct NormState(Tensor Normalized, Tensor InverseRoot);

/// <summary>Root-mean-square norm over the last dimension.</summary>
internal static class RmsNorm
{
    /// <summary>Normalizes x; the weight is applied by <see cref="Scale"/>.</summary>
    public static NormState Normalize(Tensor x, double epsilon)
    {
        using var scope = NewDisposeScope();
        var inverseRoot = x.square().mean([-1], keepdim: true).add_(epsilon).rsqrt_();
        return new NormState((x * inverseRoot).MoveToOuterDisposeScope(), inverseRoot.MoveToOuterDisposeScope());
    }

    /// <summary>The norm's output. The weight has the size of the last dimension, or [heads, head size] for one weight per head.</summary>
    public static Tensor Scale(NormState state, Tensor weight) => state.Normalized * weight;

    /// <summary>
    /// From dL/dy to dL/dx: with g = dy * weight, dx = (g - normalized * mean(g * normalized)) / root.
    /// </summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="weight">As given to <see cref="Scale"/>.</param>
    /// <param name="gradient">dL/dy; overwritten.</param>
    /// <returns>dL/dx, in the memory of <paramref name="gradient"/>, and dL/dy * normalized, whose sum over the tokens is dL/dweight.</returns>
    public static (Tensor Input, Tensor WeightPerToken) Backward(NormState state, Tensor weight, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        var weightPerToken = gradient * state.Normalized;
        var mean = (weightPerToken * weight).mean([-1], keepdim: true);
        gradient.mul_(weight).addcmul_(state.Normalized, mean, -1).mul_(state.InverseRoot);
        return (gradient, weightPerToken.MoveToOuterDisposeScope());
    }
}
