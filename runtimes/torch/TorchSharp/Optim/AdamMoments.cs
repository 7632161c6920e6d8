using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>What Adam and AdamW share.</summary>
internal static class AdamMoments
{
    internal static void CheckOptions(double lr, double beta1, double beta2, double eps, double weightDecay)
    {
        if (!(lr >= 0)) throw new ArgumentException($"Invalid learning rate: {lr}");
        if (!(eps >= 0)) throw new ArgumentException($"Invalid epsilon: {eps}");
        if (!(beta1 is >= 0 and < 1)) throw new ArgumentException($"Invalid beta1: {beta1}");
        if (!(beta2 is >= 0 and < 1)) throw new ArgumentException($"Invalid beta2: {beta2}");
        if (!(weightDecay >= 0)) throw new ArgumentException($"Invalid weight_decay value: {weightDecay}");
    }

    internal static void Update(Tensor first, Tensor second, Tensor gradient, double beta1, double beta2)
    {
        first.mul_(beta1).add_(gradient, alpha: 1 - beta1);
        second.mul_(beta2).addcmul_(gradient, gradient, value: 1 - beta2);
    }

    /// <summary>The larger second moment so far, which takes the place of the one given.</summary>
    internal static Tensor Larger(Tensor before, Tensor second)
    {
        Tensor larger = maximum(before, second).DetachFromDisposeScope();
        before.Dispose();
        return larger;
    }

    internal static void Apply(Parameter parameter, Tensor first, Tensor second, long step, double lr, double beta1, double beta2,
        double eps)
    {
        Tensor denominator = (second.sqrt() / Math.Sqrt(1 - Math.Pow(beta2, step))).add_(eps);
        parameter.addcdiv_(first, denominator, value: -lr / (1 - Math.Pow(beta1, step)));
    }
}
