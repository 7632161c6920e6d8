// AdamW with decoupled weight decay (arXiv 1711.05101) on flat buffers, in the order of operations of torch.optim.AdamW:
//   p *= 1 - lr wd;  m += (1 - b1)(g - m);  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^k) * m / (sqrt(v) / sqrt(1 - b2^k) + eps)
// The buffers are walked in blocks that stay in a core's cache through the operations of a step.
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Optimization;

/// <summary>An optimizer with its own moments. It reads and writes weights and gradients that others own.</summary>
internal sealed class AdamW : IDisposable
{
    /// <summary>Elements per block on the CPU: four blocks of this size (weights, gradients, both moments) are 1 MiB in Float32.</summary>
    private const long CacheBlock = 1 << 16;

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
        var (count, block) = (_weights.shape[0], _weights.device_type == DeviceType.CPU ? CacheBlock : _weights.shape[0]);
        for (long first = 0; first < count;)
        {
            var end = Math.Min(first + block, count);
            if (first < _decayed && end > _decayed) end = _decayed; // a block is decayed or it is not
            Update(first, end - first, first < _decayed ? 1 - learningRate * Options.WeightDecay : 1, stepSize, rootCorrection, gradientScale);
            first = end;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        FirstMoment.Dispose();
        SecondMoment.Dispose();
    }

    private void Update(long first, long count, double keep, double stepSize, double rootCorrection, double gradientScale)
    {
        using var scope = NewDisposeScope();
        var (weight, gradient) = (_weights.narrow(0, first, count), _gradients.narrow(0, first, count));
        var (m, v) = (FirstMoment.narrow(0, first, count), SecondMoment.narrow(0, first, count));
        if (gradientScale != 1) gradient.mul_(gradientScale);
        if (keep != 1) weight.mul_(keep);
        m.add_((gradient - m).mul_(1 - Options.Beta1));
        v.mul_(Options.Beta2).addcmul_(gradient, gradient, 1 - Options.Beta2);
        weight.addcdiv_(m, v.sqrt().div_(rootCorrection).add_(Options.Epsilon), -stepSize);
    }
}
