namespace Sapo.Core.Options;

/// <summary>What every knob of an objective may be, whichever objective it belongs to.</summary>
internal static class ObjectiveRanges
{
    /// <summary>Refuses the first knob that is out of range.</summary>
    public static void Check(ObjectiveOptions options)
    {
        CheckNames(options);
        CheckNumbers(options);
        options.Correction?.Validate();
        options.Kl?.Validate();
        options.EntropyBonus?.Validate();
        Require((options.Aggregation == ObjectiveCatalog.ConstantNorm) == (options.NormConstant is not null), "normConstant", options.NormConstant,
            $"a number with aggregation {ObjectiveCatalog.ConstantNorm} (the longest completion allowed, in tokens), and none otherwise");
        Require(options.Name != "guard-text" || (options.KappaRule == "constant") == (options.Kappa is not null), "kappa", options.Kappa,
            "a number with kappaRule constant, and none otherwise");
        Require(options.OffPolicyAgainst is null || options.OffPolicyThreshold is not null, "offPolicyAgainst", options.OffPolicyAgainst,
            "null without offPolicyThreshold, the distance above which completions are masked; or that too");
        Require(options.TopK is null or >= 1, "topK", options.TopK, "at least 1");
        Require(options.Name != "dppo" || options.Divergence is "topk-tv" or "topk-kl" || options.TopK is null && options.IncludeSampledToken is null,
            "divergence", options.Divergence, "topk-tv or topk-kl, since topK or includeSampledToken is set");
        Require(options.Name != "aspo" || (options.EntropyClipLow is null) == (options.EntropyClipQuantile is null) && (options.EntropyClipHigh is null) == (options.EntropyClipQuantile is null),
            "entropyClipQuantile", options.EntropyClipQuantile, "entropyClipQuantile, entropyClipLow and entropyClipHigh together or not at all");
        Require(options.Name is not ("espo" or "capo") || options.Aggregation == ObjectiveCatalog.SequenceMean || options is { Name: "capo", Aggregation: ObjectiveCatalog.ConstantNorm },
            "aggregation", options.Aggregation, "seq-mean-token-mean, which this objective refines (capo also takes seq-mean-token-sum-norm)");
    }

    private static void CheckNames(ObjectiveOptions options)
    {
        Named("aggregation", options.Aggregation, ObjectiveCatalog.Aggregations);
        Named("offPolicyAgainst", options.OffPolicyAgainst, "sampler", "anchor");
        Named("gate", options.Gate, "sigmoid", "erf", "arctan", "softsign");
        Named("divergence", options.Divergence, "binary-tv", "binary-kl", "topk-tv", "topk-kl");
        Named("reading", options.Reading, "gspo-like", "eq9-literal");
        Named("order", options.Order, "high-first", "low-first");
        Named("statistic", options.Statistic, "pos/total", "pos/neg");
        Named("contribution", options.Contribution, "value", "gradient");
        Named("kappaRule", options.KappaRule, "rms-eps", "rms", "constant");
        Named("curvatureOptimizer", options.CurvatureOptimizer, "sgd", "adam");
    }

    private static void CheckNumbers(ObjectiveOptions options)
    {
        (string Name, double? Value)[] positive =
        [
            ("normConstant", options.NormConstant), ("logRatioClamp", options.LogRatioClamp), ("tauPositive", options.TauPositive), ("tauNegative", options.TauNegative),
            ("dualClip", options.DualClip), ("ratioMax", options.RatioMax), ("steepness", options.Steepness), ("ratioCap", options.RatioCap),
            ("dualStep", options.DualStep), ("lowStep", options.LowStep), ("highStep", options.HighStep), ("kappa", options.Kappa), ("epsilon", options.Epsilon),
        ];
        (string Name, double? Value)[] notNegative =
        [
            ("clipLow", options.ClipLow), ("clipHigh", options.ClipHigh), ("delta", options.Delta), ("ratioMin", options.RatioMin), ("deltaLow", options.DeltaLow),
            ("deltaHigh", options.DeltaHigh), ("lambda", options.Lambda), ("entropyClipLow", options.EntropyClipLow), ("entropyClipHigh", options.EntropyClipHigh),
            ("alpha", options.Alpha), ("clipHighBase", options.ClipHighBase), ("clipHighGain", options.ClipHighGain), ("clipHighMinimum", options.ClipHighMinimum),
            ("clipHighMaximum", options.ClipHighMaximum), ("target", options.Target), ("lowStart", options.LowStart), ("lowMaximum", options.LowMaximum),
            ("highStart", options.HighStart), ("highMaximum", options.HighMaximum), ("kPositive", options.KPositive), ("lambdaPositive", options.LambdaPositive),
            ("kNegative", options.KNegative), ("lambdaNegative", options.LambdaNegative), ("policyShiftLimit", options.PolicyShiftLimit),
            ("objectiveShiftLimit", options.ObjectiveShiftLimit),
        ];
        (string Name, double? Value)[] shares =
        [
            ("topEntropyFraction", options.TopEntropyFraction), ("entropyClipQuantile", options.EntropyClipQuantile), ("highEntropyFraction", options.HighEntropyFraction),
        ];
        foreach ((string name, double? value) in positive) Require(value is null or (> 0 and < double.PositiveInfinity), name, value, "a number above 0");
        foreach ((string name, double? value) in notNegative) Require(value is null or (>= 0 and < double.PositiveInfinity), name, value, "0 or more");
        foreach ((string name, double? value) in shares) Require(value is null or (> 0 and <= 1), name, value, "above 0, at most 1");
        Require(options.OffPolicyThreshold is null || double.IsFinite(options.OffPolicyThreshold.Value), "offPolicyThreshold", options.OffPolicyThreshold, "a finite number");
        AtLeast("ratioMax", options.RatioMax, "ratioMin", options.RatioMin);
        AtLeast("clipHighMaximum", options.ClipHighMaximum, "clipHighMinimum", options.ClipHighMinimum);
        AtLeast("lowMaximum", options.LowMaximum, "lowStart", options.LowStart);
        AtLeast("highMaximum", options.HighMaximum, "highStart", options.HighStart);
    }

    private static void AtLeast(string name, double? value, string lowerName, double? lower) =>
        Require(value is null || lower is null || value >= lower, name, value, $"at least {lowerName}, which is {lower}");

    private static void Named(string name, string? value, params IReadOnlyList<string> known)
    {
        if (value is not null) OptionCheck.OneOf("objective." + name, value, known);
    }

    private static void Require(bool holds, string name, object? value, string expected) => OptionCheck.Holds(holds, "objective." + name, value, expected);
}
