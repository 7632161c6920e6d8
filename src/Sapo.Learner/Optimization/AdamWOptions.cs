using Sapo.Core.Options;

namespace Sapo.Learner.Optimization;

/// <summary>Settings of <see cref="AdamW"/> and of gradient clipping; defaults are PyTorch's but for the weight decay, which is 0.</summary>
public sealed record AdamWOptions
{
    /// <summary>Decay of the first moment. Default 0.9.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment. Default 0.999.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the root of the second moment. Default 1e-8.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay of matrices; norms and biases have none. Default 0.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Gradients are scaled down to this global 2-norm; null does not clip. Default 1.</summary>
    public double? MaxGradientNorm { get; init; } = 1;

    /// <summary>The optimizer's part of a run's learner options.</summary>
    public static AdamWOptions From(LearnerOptions options) => new()
    {
        Beta1 = options.Beta1, Beta2 = options.Beta2, Epsilon = options.Epsilon, WeightDecay = options.WeightDecay, MaxGradientNorm = options.MaxGradientNorm,
    };
}
