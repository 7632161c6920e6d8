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

    /// <summary>What <see cref="OffPolicyThreshold"/> compares with: sampler (default) or anchor.</summary>
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

    /// <summary>dppo: largest weight; null: none.</summary>
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

/// <summary>Weights w against the mismatch between the sampler's and the learner's log-probs (TIS, MIS, sequence weights).</summary>
public sealed record CorrectionOptions
{
    /// <summary>What a ratio is taken over: token, sequence (product) or geometric (mean of logarithms). Default token.</summary>
    public string Level { get; init; } = "token";

    /// <summary>What happens outside the bounds: truncate (to the bound) or mask (weight 0). Default truncate.</summary>
    public string Action { get; init; } = "truncate";

    /// <summary>Lower bound; null: 0.</summary>
    public double? Low { get; init; }

    /// <summary>Upper bound; null: none. Default 2.</summary>
    public double? High { get; init; } = 2;

    /// <summary>Whether weights are divided by their mean over the mini-batch's counted tokens.</summary>
    public bool Normalise { get; init; }

    /// <summary>Tokens or completions whose mismatch lies outside a range get weight 0; null: none.</summary>
    public RejectionOptions? Reject { get; init; }

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is unknown or out of range.</exception>
    public void Validate()
    {
        OptionCheck.OneOf("objective.correction.level", Level, "token", "sequence", "geometric");
        OptionCheck.OneOf("objective.correction.action", Action, "truncate", "mask");
        OptionCheck.Holds(Low is null or (>= 0 and < double.PositiveInfinity), "objective.correction.low", Low, "0 or more");
        OptionCheck.Holds(High is null || High > (Low ?? 0), "objective.correction.high", High, "a number above low");
        Reject?.Validate();
    }
}

/// <summary>Rejection by the size of the mismatch k = o - m.</summary>
public sealed record RejectionOptions
{
    /// <summary>k1 = o - m, k2 = k1^2/2 or k3 = exp(k1) - 1 - k1. Default k3.</summary>
    public string Metric { get; init; } = "k3";

    /// <summary>token, or sequence (the mean over the completion's tokens). Default token.</summary>
    public string Level { get; init; } = "token";

    /// <summary>Smallest value kept; null: no bound.</summary>
    public double? Low { get; init; }

    /// <summary>Largest value kept; null: no bound.</summary>
    public double? High { get; init; }

    internal void Validate()
    {
        OptionCheck.OneOf("objective.correction.reject.metric", Metric, "k1", "k2", "k3");
        OptionCheck.OneOf("objective.correction.reject.level", Level, "token", "sequence");
        OptionCheck.Holds(Low is not null || High is not null, "objective.correction.reject", "without bounds", "low, high or both");
        OptionCheck.Holds(Low is null || High is null || Low < High, "objective.correction.reject.high", High, "a number above low");
    }
}

/// <summary>J -= beta * aggregate(estimate of KL(policy || reference)), with delta = l - reference log-prob.</summary>
public sealed record KlOptions
{
    /// <summary>k1 (delta), k2 (delta^2/2), k3 (exp(-delta) - 1 + delta), or k1+ and k3+: their value with the gradient of k2. Default k3.</summary>
    public string Kind { get; init; } = "k3";

    /// <summary>Weight of the penalty.</summary>
    public double Beta { get; init; } = 0.04;

    /// <summary>Whether the estimate is multiplied by a ratio, through which gradient flows too: token, sequence, or null for not.</summary>
    public string? RatioCorrected { get; init; }

    /// <summary>
    /// The Hugging Face folder of the reference policy; a relative path is relative to the run file. Null (the default): the
    /// policy as it is at the first policy step.
    /// </summary>
    public string? Reference { get; init; }

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is unknown or out of range.</exception>
    public void Validate()
    {
        OptionCheck.OneOf("objective.kl.kind", Kind, "k1", "k2", "k3", "k1+", "k3+");
        OptionCheck.Holds(Beta is >= 0 and < double.PositiveInfinity, "objective.kl.beta", Beta, "0 or more");
        if (RatioCorrected is not null) OptionCheck.OneOf("objective.kl.ratioCorrected", RatioCorrected, "token", "sequence");
        OptionCheck.Holds(Reference is null or { Length: > 0 }, "objective.kl.reference", "empty", "the path of a model folder");
    }
}

/// <summary>J += coefficient * mean over all counted tokens of the current policy's entropy.</summary>
public sealed record EntropyBonusOptions
{
    /// <summary>Weight of the bonus, at the start where it adapts.</summary>
    public double Coefficient { get; init; } = 0.001;

    /// <summary>Entropy in nats towards which the coefficient adapts after each optimizer step; null: it stays.</summary>
    public double? Target { get; init; }

    /// <summary>By how much the coefficient moves per optimizer step, up while the entropy is below the target, else down. Default 1e-4.</summary>
    public double Step { get; init; } = 1e-4;

    /// <summary>Largest coefficient; the smallest is 0. Default 0.1.</summary>
    public double Maximum { get; init; } = 0.1;

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is out of range.</exception>
    public void Validate()
    {
        OptionCheck.Holds(Coefficient is >= 0 and < double.PositiveInfinity, "objective.entropyBonus.coefficient", Coefficient, "0 or more");
        OptionCheck.Holds(Target is null or (>= 0 and < double.PositiveInfinity), "objective.entropyBonus.target", Target, "0 or more");
        OptionCheck.Holds(Step is > 0 and < double.PositiveInfinity, "objective.entropyBonus.step", Step, "a positive number");
        OptionCheck.Holds(Maximum >= Coefficient, "objective.entropyBonus.maximum", Maximum, "at least the coefficient");
    }
}
