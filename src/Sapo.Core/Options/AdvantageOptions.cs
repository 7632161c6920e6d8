namespace Sapo.Core.Options;

/// <summary>How rewards become advantages: section <c>advantage</c> of a run file. A knob left out takes the estimator's default.</summary>
public sealed record AdvantageOptions
{
    /// <summary>Which estimator: grpo (group mean and deviation), dr-grpo (group mean), rloo, reinforce++, reinforce++-baseline, gdpo or espo. Default grpo.</summary>
    public string Estimator { get; init; } = "grpo";

    /// <summary>grpo, gdpo, espo: added to the standard deviation. Default 1e-6; TRL uses 1e-4.</summary>
    public double? Epsilon { get; init; }

    /// <summary>grpo: whose standard deviation divides, group (default) or batch.</summary>
    public string? Scale { get; init; }

    /// <summary>reinforce++: weight of the KL penalty in the reward. Default 0.</summary>
    public double? KlCoefficient { get; init; }

    /// <summary>reinforce++: discount. Default 1.</summary>
    public double? Gamma { get; init; }

    /// <summary>reinforce++, reinforce++-baseline: added to the variance of all tokens. Default 1e-8.</summary>
    public double? WhiteningEpsilon { get; init; }

    /// <summary>
    /// gdpo: weight of each reward function's normalised advantage, the task's first, then that of <c>rollout.overlong</c>; null: 1 each.
    /// </summary>
    public IReadOnlyList<double>? RewardWeights { get; init; }

    /// <summary>Every estimator with the defaults of its knobs.</summary>
    public static IReadOnlyList<AdvantageOptions> Known { get; } =
    [
        new() { Estimator = "grpo", Epsilon = 1e-6, Scale = "group" },
        new() { Estimator = "dr-grpo" },
        new() { Estimator = "rloo" },
        new() { Estimator = "reinforce++", KlCoefficient = 0, Gamma = 1, WhiteningEpsilon = 1e-8 },
        new() { Estimator = "reinforce++-baseline", WhiteningEpsilon = 1e-8 },
        new() { Estimator = "gdpo", Epsilon = 1e-6 },
        new() { Estimator = "espo", Epsilon = 1e-6 },
    ];

    /// <summary>The same with every knob of the estimator filled in, each one checked.</summary>
    /// <exception cref="UserErrorException">Unknown name, a knob that the estimator does not have, or a value out of range.</exception>
    public AdvantageOptions Resolved()
    {
        OptionCheck.OneOf("advantage.estimator", Estimator, [.. Known.Select(known => known.Estimator)]);
        AdvantageOptions defaults = Known.First(known => known.Estimator == Estimator);
        var resolved = new AdvantageOptions
        {
            Estimator = Estimator,
            Epsilon = Filled("epsilon", Epsilon, defaults.Epsilon),
            Scale = Filled("scale", Scale, defaults.Scale),
            KlCoefficient = Filled("klCoefficient", KlCoefficient, defaults.KlCoefficient),
            Gamma = Filled("gamma", Gamma, defaults.Gamma),
            WhiteningEpsilon = Filled("whiteningEpsilon", WhiteningEpsilon, defaults.WhiteningEpsilon),
            RewardWeights = RewardWeights,
        };
        if (RewardWeights is not null && Estimator != "gdpo")
            throw new UserErrorException($"advantage.rewardWeights is set, but {Estimator} does not use it", null, "Remove it; gdpo takes it");
        OptionCheck.Holds(RewardWeights is null || RewardWeights.All(double.IsFinite), "advantage.rewardWeights", "with a weight that is not finite", "finite numbers");
        if (resolved.Scale is not null) OptionCheck.OneOf("advantage.scale", resolved.Scale, "group", "batch");
        OptionCheck.Holds(resolved.Epsilon is null or (>= 0 and < double.PositiveInfinity), "advantage.epsilon", resolved.Epsilon, "0 or more");
        OptionCheck.Holds(resolved.KlCoefficient is null or (>= 0 and < double.PositiveInfinity), "advantage.klCoefficient", resolved.KlCoefficient, "0 or more");
        OptionCheck.Holds(resolved.Gamma is null or (>= 0 and <= 1), "advantage.gamma", resolved.Gamma, "0 to 1");
        OptionCheck.Holds(resolved.WhiteningEpsilon is null or (> 0 and < double.PositiveInfinity), "advantage.whiteningEpsilon", resolved.WhiteningEpsilon, "a number above 0");
        return resolved;
    }

    private T Filled<T>(string name, T given, T fallback)
    {
        if (given is not null && fallback is null)
            throw new UserErrorException($"advantage.{name} is set, but {Estimator} does not use it", null, $"Remove it; {Estimator} takes {Known.First(known => known.Estimator == Estimator).KnobNames()}");
        return given ?? fallback;
    }

    private string KnobNames()
    {
        (string Name, object? Value)[] knobs =
            [("epsilon", Epsilon), ("scale", Scale), ("klCoefficient", KlCoefficient), ("gamma", Gamma), ("whiteningEpsilon", WhiteningEpsilon)];
        string[] own = [.. knobs.Where(knob => knob.Value is not null).Select(knob => knob.Name)];
        return own.Length == 0 ? "no knobs of its own" : string.Join(", ", own);
    }
}
