// The parts of section objective that hold for every objective: mismatch weights, KL penalty, entropy bonus.
namespace Sapo.Core.Options;

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
        OptionCheck.Holds(Action == "truncate" || Low is not null || High is not null, "objective.correction.action", Action, "truncate without low and high: there is no bound to be outside of");
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
    /// <summary>What <see cref="Step"/> and <see cref="Maximum"/> are where they are not given.</summary>
    public const double DefaultStep = 1e-4, DefaultMaximum = 0.1;

    /// <summary>Weight of the bonus, at the start where it adapts.</summary>
    public double Coefficient { get; init; } = 0.001;

    /// <summary>Entropy in nats towards which the coefficient adapts after each optimizer step; null: it stays.</summary>
    public double? Target { get; init; }

    /// <summary>
    /// With a target: by how much the coefficient moves per optimizer step, up while the entropy is below the target, else down;
    /// null (the default) is 1e-4.
    /// </summary>
    public double? Step { get; init; }

    /// <summary>With a target: the largest coefficient, the smallest being 0; null (the default) is 0.1.</summary>
    public double? Maximum { get; init; }

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is out of range.</exception>
    public void Validate()
    {
        OptionCheck.Holds(Coefficient is >= 0 and < double.PositiveInfinity, "objective.entropyBonus.coefficient", Coefficient, "0 or more");
        OptionCheck.Holds(Target is null or (>= 0 and < double.PositiveInfinity), "objective.entropyBonus.target", Target, "0 or more");
        OptionCheck.Holds(Step is null or (> 0 and < double.PositiveInfinity), "objective.entropyBonus.step", Step, "a positive number");
        OptionCheck.Holds(Maximum is null or (>= 0 and < double.PositiveInfinity), "objective.entropyBonus.maximum", Maximum, "0 or more");
        OptionCheck.Holds(Target is null || Coefficient <= (Maximum ?? DefaultMaximum), "objective.entropyBonus.coefficient", Coefficient, $"at most the maximum, which is {Maximum ?? DefaultMaximum}");
        OptionCheck.Holds(
            Target is not null || (Step is null && Maximum is null), "objective.entropyBonus.target", "not given", "an entropy in nats, since step or maximum is set: without a target the coefficient stays");
    }
}
