// y = x / sqrt(mean(x^2) + epsilon) * weight, over the last dimension, and its derivative, written out.
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What the backward pass of an RMS norm needs.</summary>
/// <param name="Normalized">x / root, of x's shape.</param>
/// <param name="InverseRoot">1 / sqrt(mean(x^2) + epsilon), the last dimension being 1.</param>
internal readonly record struct NormState(Tensor Normalized, Tensor InverseRoot);

/// <summary>Root-mean-square norm over the last dimension.</summary>
internal static class RmsNorm
{
    /// <summary>The norm's output, and what its backward pass needs.</summary>
    /// <param name="x">[N, ...].</param>
    /// <param name="weight">Of the size of the last dimension, or [heads, head size] for one weight per head.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    public static (Tensor Output, NormState State) Forward(Tensor x, Tensor weight, double epsilon)
    {
        using var scope = NewDisposeScope();
        var state = new NormState(x.new_empty(x.shape), x.new_empty([.. x.shape[..^1], 1]));
        var output = x.new_empty(x.shape);
        ComputeThreads.Shared.ForBlocks(output, (first, count, _) =>
        {
            var part = x.narrow(0, first, count);
            var inverseRoot = state.InverseRoot.narrow(0, first, count).copy_(part.square().mean([-1], keepdim: true)).add_(epsilon).rsqrt_();
            var normalized = state.Normalized.narrow(0, first, count).copy_(part).mul_(inverseRoot);
            output.narrow(0, first, count).copy_(normalized).mul_(weight);
        });
        state.Normalized.MoveToOuterDisposeScope();
        state.InverseRoot.MoveToOuterDisposeScope();
        return (output.MoveToOuterDisposeScope(), state);
    }

    /// <summary>The norm's output once more, from its state.</summary>
    public static Tensor Scale(NormState state, Tensor weight)
    {
        using var scope = NewDisposeScope();
        var output = state.Normalized.empty_like();
        ComputeThreads.Shared.ForBlocks(output, (first, count, _) => output.narrow(0, first, count).copy_(state.Normalized.narrow(0, first, count)).mul_(weight));
        return output.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// From dL/dy to dL/dx: with g = dy * weight, dx = (g - normalized * mean(g * normalized)) / root. The gradient of the weight is
    /// the sum over the tokens of dy * normalized.
    /// </summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="weight">As given to <see cref="Forward"/>.</param>
    /// <param name="gradient">[N, ...]: dL/dy on the way in, dL/dx on the way out.</param>
    /// <param name="residual">dL/dx is added to it, where it is given.</param>
    /// <returns>dL/dweight, of the weight's shape.</returns>
    public static Tensor Backward(NormState state, Tensor weight, Tensor gradient, Tensor? residual = null)
    {
        using var scope = NewDisposeScope();
        var sums = gradient.new_zeros([ComputeThreads.BlocksOf(gradient), .. gradient.shape[1..]]);
        ComputeThreads.Shared.ForBlocks(gradient, (first, count, block) =>
        {
            var (part, normalized) = (gradient.narrow(0, first, count), state.Normalized.narrow(0, first, count));
            var weightPerToken = part * normalized;
            sums.select(0, block).copy_(weightPerToken.sum(dim: 0));
            var mean = weightPerToken.mul_(weight).mean([-1], keepdim: true);
            part.mul_(weight).addcmul_(normalized, mean, -1).mul_(state.InverseRoot.narrow(0, first, count));
            residual?.narrow(0, first, count).add_(part);
        });
        return sums.sum(dim: 0).MoveToOuterDisposeScope();
    }
}
