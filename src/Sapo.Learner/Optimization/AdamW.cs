// AdamW with decoupled weight decay (arXiv 1711.05101) on flat buffers, in the order of operations of torch.optim.AdamW:
//   p *= 1 - lr wd;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^k) * m / (sqrt(v) / sqrt(1 - b2^k) + eps)
// The buffers are walked in blocks that stay in a core's cache through the operations of a step.
using Sapo.Learner.Compute;
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Optimization;

/// <summary>An optimizer with its own moments. It reads and writes weights and gradients that others own.</summary>
internal sealed class AdamW : IDisposable
{
    private readonly Tensor _weights, _gradients;
    private readonly long _decayed;

    /// <summary>Fresh moments, zero steps.</summary>
    /// <param name="weights">[n], updated in place.</param>
    /// <param name="gradients">[n], scaled in place.</param>
    /// <param name="decayed">Weight decay applies to the first elements, up to this many.</param>
    /// <param name="options">Settings.</param>
    public AdamW(Tensor weights, Tensor gradients, long decayed, AdamWOptions options)
    {
        (_weights, _gradients, _decayed, Options) = (weights, gradients, decayed, options);
        FirstMoment = weights.zeros_like().DetachFromDisposeScope();
        SecondMoment = weights.zeros_like().DetachFromDisposeScope();
    }

    /// <summary>The settings.</summary>
    public AdamWOptions Options { get; }

    /// <summary>[n] m.</summary>
    public Tensor FirstMoment { get; }

    /// <summary>[n] v.</summary>
    public Tensor SecondMoment { get; }

    /// <summary>k: updates made.</summary>
    public long Steps { get; set; }

    /// <summary>One update.</summary>
    /// <param name="learningRate">lr.</param>
    /// <param name="gradientScale">Multiplies the gradients first: the clipping factor.</param>
    public void Step(double learningRate, double gradientScale)
    {
        Steps++;
        var stepSize = learningRate / (1 - Math.Pow(Options.Beta1, Steps));
        var rootCorrection = Math.Sqrt(1 - Math.Pow(Options.Beta2, Steps));
        Update(0, _decayed, 1 - learningRate * Options.WeightDecay, stepSize, rootCorrection, gradientScale);
        Update(_decayed, _weights.shape[0] - _decayed, 1, stepSize, rootCorrection, gradientScale);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        FirstMoment.Dispose();
        SecondMoment.Dispose();
    }

    private void Update(long start, long length, double keep, double stepSize, double rootCorrection, double gradientScale)
    {
        if (length == 0) return;
        using var scope = NewDisposeScope();
        ComputeThreads.Shared.ForBlocks(_weights.narrow(0, start, length), (first, count, _) =>
        {
            var (weight, gradient) = (_weights.narrow(0, start + first, count), _gradients.narrow(0, start + first, count));
            var (m, v) = (FirstMoment.narrow(0, start + first, count), SecondMoment.narrow(0, start + first, count));
            if (gradientScale != 1) gradient.mul_(gradientScale);
            if (keep != 1) weight.mul_(keep);
            m.add_((gradient - m).mul_(1 - Options.Beta1));
            v.mul_(Options.Beta2).addcmul_(gradient, gradient, 1 - Options.Beta2);
            weight.addcdiv_(m, v.sqrt().div_(rootCorrection).add_(Options.Epsilon), -stepSize);
        });
    }
}
