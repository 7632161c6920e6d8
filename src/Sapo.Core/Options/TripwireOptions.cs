namespace Sapo.Core.Options;

/// <summary>
/// Section <c>tripwire</c>: when a run stops because its policy looks broken, before that is trained on or kept. A sound
/// policy step moves these numbers by hundredths.
/// </summary>
public sealed record TripwireOptions
{
    /// <summary>
    /// Most nats by which a version's mean log-prob per sampled token may differ from the version before it, or fall below
    /// the run's first; null does not look. Default 1: broken weights move it by several.
    /// </summary>
    public double? LogProbNats { get; init; } = 1;

    /// <summary>
    /// Most by which the share of truncated completions may rise from one version to the next, beyond what chance explains;
    /// null does not look. Default 0.5: a version that forgot its end token truncates everything.
    /// </summary>
    public double? TruncatedShare { get; init; } = 0.5;

    /// <summary>
    /// Most nats of KL(sampler || learner) per token, estimated by k3 on a step's first mini-batch; null does not look.
    /// Steps with samples of older versions are left out. Default 0.5: the same weights give about 1e-10, weights that were broken on their way to the engine several.
    /// </summary>
    public double? MismatchNats { get; init; } = 0.5;

    internal void Validate()
    {
        OptionCheck.Holds(IsLimit(LogProbNats), "tripwire.logProbNats", LogProbNats, "a positive number, or null to not look");
        OptionCheck.Holds(
            TruncatedShare is null or (> 0 and <= 1), "tripwire.truncatedShare", TruncatedShare, "above 0 and at most 1, or null to not look");
        OptionCheck.Holds(IsLimit(MismatchNats), "tripwire.mismatchNats", MismatchNats, "a positive number, or null to not look");
    }

    private static bool IsLimit(double? value) => value is null || (double.IsFinite(value.Value) && value > 0);
}
