namespace Sapo.Rollout;

/// <summary>The first completions of a version beside the last of the version before it: broken weights show here before they are trained on.</summary>
/// <param name="Version">The newer version.</param>
/// <param name="Previous">The version before it.</param>
/// <param name="Completions">How many completions of the newer version were looked at.</param>
/// <param name="MeanLogProb">Their mean log-prob per token, nats.</param>
/// <param name="PreviousMeanLogProb">The same of the version before.</param>
/// <param name="TruncatedShare">Share of them that ran into a length limit.</param>
/// <param name="PreviousTruncatedShare">The same of the version before.</param>
public sealed record VersionComparison(
    PolicyVersion Version, PolicyVersion Previous, int Completions, double MeanLogProb, double PreviousMeanLogProb, double TruncatedShare, double PreviousTruncatedShare)
{
    /// <summary>A policy step moves the mean by hundredths of a nat; noise weights move it by several.</summary>
    public const double MeanLogProbLimit = 1;

    /// <summary>A policy step moves the share by hundredths; a version that forgot its end token truncates everything.</summary>
    public const double TruncatedShareLimit = 0.5;

    /// <summary>What looks broken, or null.</summary>
    public string? Suspicion =>
        Math.Abs(MeanLogProb - PreviousMeanLogProb) > MeanLogProbLimit
            ? $"The mean log-prob per token went from {PreviousMeanLogProb:F3} ({Previous}) to {MeanLogProb:F3} ({Version}) over {Completions} completions: check the published weights before training on them"
            : TruncatedShare - PreviousTruncatedShare > TruncatedShareLimit
                ? $"The share of truncated completions went from {PreviousTruncatedShare:P0} ({Previous}) to {TruncatedShare:P0} ({Version}) over {Completions} completions: check the published weights before training on them"
                : null;
}
