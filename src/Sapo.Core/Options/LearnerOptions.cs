namespace Sapo.Core.Options;

/// <summary>The learner: section <c>learner</c> of a run file. Defaults are those of the SAPO paper's setting where it names them.</summary>
public sealed record LearnerOptions
{
    /// <summary>The two values of <see cref="Anchor"/>.</summary>
    public const string BehaviourAnchor = "behaviour", RecomputedAnchor = "recomputed";

    /// <summary>The two values of <see cref="Dtype"/>.</summary>
    public const string FullDtype = "fp32", Bfloat16Dtype = "bf16";

    /// <summary>Optimizer steps per rollout batch; the batch is cut into as many parts of whole groups, in order. Default 4.</summary>
    public int MiniBatches { get; init; } = 4;

    /// <summary>How often each rollout batch is trained on; null (the default) once.</summary>
    public BatchReuseOptions? BatchReuse { get; init; }

    /// <summary>Most tokens (prompt counted once per group) computed at once; the result does not depend on it. Default 16384.</summary>
    public int MaxTokensPerMicroBatch { get; init; } = 16384;

    /// <summary>Peak learning rate. Default 1e-6.</summary>
    public double LearningRate { get; init; } = 1e-6;

    /// <summary><c>constant</c>, <c>linear</c> or <c>cosine</c>, after the warm-up. Default constant.</summary>
    public string Schedule { get; init; } = "constant";

    /// <summary>Rollout batches over which the learning rate rises linearly: batch s (from 1) uses learningRate * s / warmupSteps. Default 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Where linear and cosine schedules end, as a share of the peak. Default 0.</summary>
    public double FinalLearningRateShare { get; init; }

    /// <summary>AdamW's decay of the first moment. Default 0.9.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>AdamW's decay of the second moment. Default 0.999.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>AdamW's epsilon. Default 1e-8.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>AdamW's decoupled weight decay, not applied to norms and biases. Default 0.</summary>
    public double WeightDecay { get; init; }

    /// <summary>Gradients are scaled down to this global 2-norm; null does not clip. Default 1.</summary>
    public double? MaxGradientNorm { get; init; } = 1;

    /// <summary>What the importance ratio is taken against: <c>behaviour</c> (the sampler's log-probs) or <c>recomputed</c> (the learner's own before the first mini-batch). Default behaviour.</summary>
    public string Anchor { get; init; } = "behaviour";

    /// <summary>True leaves completions that were cut off by the token limit out of the loss; they still count as sequences, and their rewards in the group's baseline. Default false.</summary>
    public bool MaskTruncated { get; init; }

    /// <summary>
    /// What the layers' matrix products are computed in: <c>fp32</c>, or <c>bf16</c>, rounded to bfloat16 and summed in fp32. Weights,
    /// gradients, moments, norms, attention, the head and what is published are fp32 in both. Default fp32.
    /// </summary>
    public string Dtype { get; init; } = FullDtype;

    /// <summary>
    /// True keeps only what enters each layer and computes the layer's activations again in the backward pass: about a third more
    /// time for a fraction of the memory, the same result bit for bit. Default false.
    /// </summary>
    public bool ActivationCheckpointing { get; init; }

    /// <summary>
    /// Of a mixture of experts: weight of the load-balance loss, in policy steps and in the cold start, such as the model's own
    /// router_aux_loss_coef. Default 0 leaves it out.
    /// </summary>
    public double RouterBalance { get; init; }

    /// <summary>Trains a low-rank adapter beside frozen weights; null (the default) trains the weights themselves.</summary>
    public LoraOptions? Lora { get; init; }

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public LearnerOptions Validated()
    {
        Check(MiniBatches >= 1, "miniBatches", MiniBatches, "at least 1");
        BatchReuse?.Validate();
        Check(MaxTokensPerMicroBatch >= 1, "maxTokensPerMicroBatch", MaxTokensPerMicroBatch, "at least 1");
        Check(double.IsFinite(LearningRate) && LearningRate > 0, "learningRate", LearningRate, "a positive number");
        Check(Schedule is "constant" or "linear" or "cosine", "schedule", Schedule, "constant, linear or cosine");
        Check(WarmupSteps >= 0, "warmupSteps", WarmupSteps, "0 or more");
        Check(FinalLearningRateShare is >= 0 and <= 1, "finalLearningRateShare", FinalLearningRateShare, "0 to 1");
        Check(Beta1 is >= 0 and < 1, "beta1", Beta1, "0 or more and below 1");
        Check(Beta2 is >= 0 and < 1, "beta2", Beta2, "0 or more and below 1");
        Check(Epsilon is > 0 and < double.PositiveInfinity, "epsilon", Epsilon, "a positive number");
        Check(WeightDecay is >= 0 and < double.PositiveInfinity, "weightDecay", WeightDecay, "0 or more");
        Check(MaxGradientNorm is null or (> 0 and < double.PositiveInfinity), "maxGradientNorm", MaxGradientNorm ?? 0, "a positive number, or null to not clip");
        Check(Anchor is "behaviour" or "recomputed", "anchor", Anchor, "behaviour or recomputed");
        Check(Dtype is FullDtype or Bfloat16Dtype, "dtype", Dtype, "fp32 or bf16");
        Check(RouterBalance is >= 0 and < double.PositiveInfinity, "routerBalance", RouterBalance, "0 or more");
        Lora?.Validated();
        return this;
    }

    private static void Check(bool holds, string name, object value, string expected)
    {
        if (!holds) throw new UserErrorException($"learner.{name} is {value}", expected, "Correct the run file");
    }
}
