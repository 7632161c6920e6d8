namespace Sapo.Core.Options;

/// <summary>
/// What is optimised: section <c>objective</c> of a run file. A knob left out takes the named objective's default
/// (<see cref="ObjectiveCatalog"/>); a knob that the objective does not have is refused.
/// </summary>
public sealed record ObjectiveOptions
{
    /// <summary>Which objective, a name of <see cref="ObjectiveCatalog"/>. Default sapo.</summary>
    public string Name { get; init; } = "sapo";

    /// <summary>How per-token terms are averaged: seq-mean-token-mean, token-mean, seq-mean-token-sum or seq-mean-token-sum-norm.</summary>
    public string? Aggregation { get; init; }

    /// <summary>C of seq-mean-token-sum-norm: the longest completion allowed, in tokens. In a run its default is rollout.maxNewTokens.</summary>
    public double? NormConstant { get; init; }

    /// <summary>Log-ratios are clamped to +- this before they are exponentiated. Default 20.</summary>
    public double? LogRatioClamp { get; init; }

    /// <summary>Weights against the mismatch between sampler and learner; null: none.</summary>
    public CorrectionOptions? Correction { get; init; }

    /// <summary>A penalty on the distance from a reference policy; null: none.</summary>
    public KlOptions? Kl { get; init; }

    /// <summary>A bonus on the policy's entropy; null: none.</summary>
    public EntropyBonusOptions? EntropyBonus { get; init; }

    /// <summary>Completions with a negative advantage whose mean of (behaviour or anchor log-prob - current log-prob) exceeds this are masked; null: none.</summary>
    public double? OffPolicyThreshold { get; init; }

    /// <summary>With <see cref="OffPolicyThreshold"/>, and only then: what it compares with, sampler (default) or anchor.</summary>
    public string? OffPolicyAgainst { get; init; }

    /// <summary>Only this share of the mini-batch's tokens, those of highest old-policy entropy, carry the policy term; null: all.</summary>
    public double? TopEntropyFraction { get; init; }

    /// <summary>The soft gate's shape: sigmoid (SAPO), erf, arctan or softsign (gate study).</summary>
    public string? Gate { get; init; }

    /// <summary>Gate temperature for A &gt; 0.</summary>
    public double? TauPositive { get; init; }

    /// <summary>Gate temperature for A &lt;= 0.</summary>
    public double? TauNegative { get; init; }

    /// <summary>How far below 1 the ratio may fall (gmpo: how far below 0 its logarithm).</summary>
    public double? ClipLow { get; init; }

    /// <summary>How far above 1 the ratio may rise (gmpo: how far above 0 its logarithm).</summary>
    public double? ClipHigh { get; init; }

    /// <summary>For A &lt; 0 the gradient stops where the ratio exceeds this; null: never. ASPO: the largest weight.</summary>
    public double? DualClip { get; init; }

    /// <summary>grpo: upper clamp of the unclipped ratio, null: none. r2vpo: the variance of the ratio that is allowed.</summary>
    public double? Delta { get; init; }

    /// <summary>cispo-absolute: smallest weight; null: no floor.</summary>
    public double? RatioMin { get; init; }

    /// <summary>cispo-absolute: largest weight.</summary>
    public double? RatioMax { get; init; }

    /// <summary>sspo-arctan: how sharply the log-ratio is squashed.</summary>
    public double? Steepness { get; init; }

    /// <summary>dppo: binary-tv, binary-kl, topk-tv or topk-kl.</summary>
    public string? Divergence { get; init; }

    /// <summary>dppo: divergence above which tokens of negative advantage that move away are masked.</summary>
    public double? DeltaLow { get; init; }

    /// <summary>dppo: divergence above which tokens of positive advantage that move away are masked.</summary>
    public double? DeltaHigh { get; init; }

    /// <summary>dppo: largest weight; null (the default) is 10.</summary>
    public double? RatioCap { get; init; }

    /// <summary>
    /// dppo with topk-tv or topk-kl (default 20): how many of the old policy's most likely tokens are compared one by one, the rest as
    /// one. capo (default 50): over how many of the policy's most likely tokens its last-layer model looks.
    /// </summary>
    public int? TopK { get; init; }

    /// <summary>dppo with topk-tv or topk-kl: whether the sampled token joins the list. Default false.</summary>
    public bool? IncludeSampledToken { get; init; }

    /// <summary>r2vpo: the dual variable at the start.</summary>
    public double? Lambda { get; init; }

    /// <summary>r2vpo: how far the dual variable moves per unit of violated variance.</summary>
    public double? DualStep { get; init; }

    /// <summary>aspo: tokens whose entropy is above this quantile of their completion use the wide clip pair; null: one pair for all.</summary>
    public double? EntropyClipQuantile { get; init; }

    /// <summary>aspo: the wide pair's lower distance.</summary>
    public double? EntropyClipLow { get; init; }

    /// <summary>aspo: the wide pair's upper distance.</summary>
    public double? EntropyClipHigh { get; init; }

    /// <summary>espo: clip range per unit of normalised entropy.</summary>
    public double? Alpha { get; init; }

    /// <summary>espo: share of a completion's tokens in its high-entropy group.</summary>
    public double? HighEntropyFraction { get; init; }

    /// <summary>espo: gspo-like or eq9-literal, the two readings of the paper's Eq. 9.</summary>
    public string? Reading { get; init; }

    /// <summary>acpo: upper clip distance where the advantage is very negative.</summary>
    public double? ClipHighBase { get; init; }

    /// <summary>acpo: how much wider the upper clip gets with the advantage.</summary>
    public double? ClipHighGain { get; init; }

    /// <summary>acpo: smallest upper clip distance.</summary>
    public double? ClipHighMinimum { get; init; }

    /// <summary>acpo: largest upper clip distance.</summary>
    public double? ClipHighMaximum { get; init; }

    /// <summary>bapo: which bound is raised first, high-first (paper) or low-first (published code).</summary>
    public string? Order { get; init; }

    /// <summary>bapo: pos/total (paper) or pos/neg (published code).</summary>
    public string? Statistic { get; init; }

    /// <summary>bapo: value (paper) or gradient (only tokens that carry a gradient count).</summary>
    public string? Contribution { get; init; }

    /// <summary>bapo: whether contributions are weighted by the sampler's probability.</summary>
    public bool? SamplerWeighted { get; init; }

    /// <summary>bapo: the search stops when the statistic reaches this.</summary>
    public double? Target { get; init; }

    /// <summary>bapo: lower ratio bound at the start of the search.</summary>
    public double? LowStart { get; init; }

    /// <summary>bapo: step of the lower bound.</summary>
    public double? LowStep { get; init; }

    /// <summary>bapo: largest lower bound.</summary>
    public double? LowMaximum { get; init; }

    /// <summary>bapo: upper ratio bound at the start of the search.</summary>
    public double? HighStart { get; init; }

    /// <summary>bapo: step of the upper bound.</summary>
    public double? HighStep { get; init; }

    /// <summary>bapo: largest upper bound.</summary>
    public double? HighMaximum { get; init; }

    /// <summary>vespo: exponent of the sequence weight for A &gt;= 0.</summary>
    public double? KPositive { get; init; }

    /// <summary>vespo: damping of the sequence weight for A &gt;= 0.</summary>
    public double? LambdaPositive { get; init; }

    /// <summary>vespo: exponent of the sequence weight for A &lt; 0.</summary>
    public double? KNegative { get; init; }

    /// <summary>vespo: damping of the sequence weight for A &lt; 0.</summary>
    public double? LambdaNegative { get; init; }

    /// <summary>guard-text: the common scale of the normalised log-ratios, rms-eps, rms or constant.</summary>
    public string? KappaRule { get; init; }

    /// <summary>guard-text: the scale itself with kappaRule constant.</summary>
    public double? Kappa { get; init; }

    /// <summary>guard-text: added, squared, to the variance of the log-ratio.</summary>
    public double? Epsilon { get; init; }

    /// <summary>capo: a token is masked when its predicted squared policy movement reaches this (tau_F).</summary>
    public double? PolicyShiftLimit { get; init; }

    /// <summary>capo: a token is masked when its predicted change of the objective reaches this (tau_H).</summary>
    public double? ObjectiveShiftLimit { get; init; }

    /// <summary>capo: whether the change of the objective is bounded on both sides, or must be positive.</summary>
    public bool? Symmetric { get; init; }

    /// <summary>capo: whose direction the prediction follows, sgd or adam.</summary>
    public string? CurvatureOptimizer { get; init; }

    /// <summary>The same with every knob of the objective filled in, each one checked.</summary>
    /// <exception cref="UserErrorException">Unknown name, a knob that the objective does not have, or a value out of range.</exception>
    public ObjectiveOptions Resolved() => ObjectiveCatalog.Find(Name).Resolve(this);

    /// <summary>The same, with this constant where the aggregation divides by one and none is given.</summary>
    /// <exception cref="UserErrorException">Unknown name.</exception>
    public ObjectiveOptions WithNormConstant(double longestCompletion) =>
        NormConstant is null && (Aggregation ?? ObjectiveCatalog.Find(Name).Defaults.Aggregation) == ObjectiveCatalog.ConstantNorm
            ? this with { NormConstant = longestCompletion }
            : this;
}
