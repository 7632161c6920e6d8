using Sapo.Core.Options;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>How a policy is computed, as opposed to what it is.</summary>
/// <param name="ProductType">What the layers' matrix products are computed in; null: the weights' own precision.</param>
/// <param name="RecomputesActivations">Whether a layer's activations are computed again in the backward pass instead of being kept.</param>
internal sealed record ComputeOptions(ScalarType? ProductType = null, bool RecomputesActivations = false)
{
    /// <summary>Everything in the weights' own precision, activations kept.</summary>
    public static ComputeOptions Plain { get; } = new();

    /// <summary>As a run's learner options say.</summary>
    public static ComputeOptions From(LearnerOptions options) =>
        new(options.Dtype == LearnerOptions.Bfloat16Dtype ? ScalarType.BFloat16 : null, options.ActivationCheckpointing);
}
