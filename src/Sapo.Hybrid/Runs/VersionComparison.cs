namespace Sapo.Hybrid.Runs;

/// <summary>A version's completions beside those of the version before it: broken weights show here.</summary>
public sealed record VersionComparison
{
    /// <summary>The newer version.</summary>
    public required long Version { get; init; }

    /// <summary>The version before it.</summary>
    public required long Previous { get; init; }

    /// <summary>Completions of the newer version that were looked at.</summary>
    public required int Completions { get; init; }

    /// <summary>Their mean log-prob per token at the temperature, before truncation, in nats: minus an estimate of the entropy.</summary>
    public required double LogProbNats { get; init; }

    /// <summary>The same of the version before.</summary>
    public required double PreviousLogProbNats { get; init; }

    /// <summary>The same of the first version of the run.</summary>
    public required double FirstLogProbNats { get; init; }

    /// <summary>Share of them that ran into a length limit.</summary>
    public required double TruncatedShare { get; init; }

    /// <summary>The same of the version before.</summary>
    public required double PreviousTruncatedShare { get; init; }
}

/// <summary>Sums over the completions that one version sampled alone.</summary>
public sealed record VersionSums
{
    /// <summary>The version.</summary>
    public required long Version { get; init; }

    /// <summary>How many.</summary>
    public int Completions { get; init; }

    /// <summary>Their tokens.</summary>
    public long Tokens { get; init; }

    /// <summary>Sum of the tokens' log-probs, before truncation.</summary>
    public double LogProbs { get; init; }

    /// <summary>Completions that ran into a length limit.</summary>
    public int Truncated { get; init; }

    /// <summary>Mean log-prob per token.</summary>
    internal double MeanLogProb => LogProbs / Tokens;

    /// <summary>Share of truncated completions.</summary>
    internal double TruncatedShare => (double)Truncated / Completions;
}

/// <summary>What a <see cref="PolicyTripwire"/> has seen: part of a checkpoint, so that a resumed run compares with the same.</summary>
/// <param name="First">The run's first version.</param>
/// <param name="Previous">The version before <paramref name="Current"/>, if there was one.</param>
/// <param name="Current">The newest version.</param>
public sealed record TripwireState(VersionSums First, VersionSums? Previous, VersionSums Current);
