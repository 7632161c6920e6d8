namespace Sapo.Hybrid.Runs;

/// <summary>A share with the interval that holds the true one with 95% confidence.</summary>
public sealed record ShareWithInterval(double Value, double Low, double High);

/// <summary>One policy's answers to held-out problems.</summary>
public sealed record EvaluationResult
{
    /// <summary>The version that answered.</summary>
    public required long Version { get; init; }

    /// <summary>Number of problems.</summary>
    public required int Problems { get; init; }

    /// <summary>Completions per problem.</summary>
    public required int Samples { get; init; }

    /// <summary>Temperature.</summary>
    public required double Temperature { get; init; }

    /// <summary>pass@1: the chance that one completion is right, averaged over problems (avg@k where there are k samples).</summary>
    public required ShareWithInterval PassAt1 { get; init; }

    /// <summary>pass@k for k = number of samples: the chance that at least one of k is right.</summary>
    public required double PassAtK { get; init; }

    /// <summary>Mean reward.</summary>
    public required double MeanReward { get; init; }

    /// <summary>Completions without a reward: a function failed or all abstained. They count as wrong.</summary>
    public required int Unscored { get; init; }

    /// <summary>Mean length in tokens.</summary>
    public required double MeanTokens { get; init; }

    /// <summary>Share that ended by themselves.</summary>
    public required double EndedShare { get; init; }

    /// <summary>Share of each way of solving, where the task tells them apart.</summary>
    public required IReadOnlyDictionary<string, double> Styles { get; init; }

    /// <summary>Seconds it took.</summary>
    public required double Seconds { get; init; }
}
