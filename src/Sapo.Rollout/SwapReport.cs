namespace Sapo.Rollout;

/// <summary>
/// What a version switch took, in milliseconds from its beginning unless said. Loading runs beside decoding, probe and switch between two
/// decode steps; what else passes until a version is active is waiting: for the step at hand, and where versions drain for the one before.
/// </summary>
/// <param name="Version">The version switched to.</param>
/// <param name="BuildMilliseconds">How long the session took to load that decoded first.</param>
/// <param name="ProbeMilliseconds">How long its probe took.</param>
/// <param name="ProbeDifference">Largest difference from the learner's log-probs; 0 without probe sequences.</param>
/// <param name="ActiveMilliseconds">When new completions started on the version.</param>
public sealed record SwapReport(PolicyVersion Version, double BuildMilliseconds, double ProbeMilliseconds, double ProbeDifference, double ActiveMilliseconds)
{
    /// <summary>How long the switch itself took: next to nothing, except where running completions' keys and values are computed anew.</summary>
    public double SwitchMilliseconds { get; init; }

    /// <summary>How long decoding stood still: probe and switch, and those of the prepacked session where it is built behind. The old version's memory is given back after that token.</summary>
    public double PauseMilliseconds { get; init; }

    /// <summary>How far the probe's log-probs lie from the learner's; null without probe sequences.</summary>
    public LogProbMismatch? Mismatch { get; init; }

    /// <summary>When the first decode step under the version was done; null while there was none.</summary>
    public double? FirstTokenMilliseconds { get; init; }

    /// <summary>
    /// When steps ran at full speed: with the first one where matrices were reordered before the switch, when the prepacked
    /// session took over where it is built behind; null before that, and where matrices are never reordered.
    /// </summary>
    public double? FullSpeedMilliseconds { get; init; }

    /// <summary>Why the prepacked session did not take over, so that the version goes on at the unpacked session's speed; null where it did or will.</summary>
    public string? FullSpeedFailure { get; init; }
}

/// <summary>A version that did not become active: the engine's log-probs differ from the learner's. The old version goes on serving.</summary>
public sealed class SwapFailedException : Exception
{
    /// <summary>One message from where the largest difference is.</summary>
    /// <param name="version">The version refused.</param>
    /// <param name="place">Index of the probe sequence, and of the token within it.</param>
    /// <param name="expected">The learner's log-prob.</param>
    /// <param name="found">The engine's.</param>
    /// <param name="mismatch">Over all tokens.</param>
    /// <param name="tolerance">What was exceeded.</param>
    public SwapFailedException(PolicyVersion version, (int Sequence, int Position) place, double expected, double found, LogProbMismatch mismatch, ProbeTolerance tolerance)
        : base($"Policy {version} was not activated: probe sequence {place.Sequence}, position {place.Position} has the log-prob {found:G9} here and {expected:G9} by the learner; "
            + $"they differ by {mismatch.MaxAbsolute:G3}, all {mismatch.Tokens} by {mismatch.MeanAbsolute:G3} on average, and at most {tolerance} is expected. The version before it goes on serving. Check that the published weights are the learner's.")
    {
        (Version, Sequence, Position, Expected, Found, Mismatch) = (version, place.Sequence, place.Position, expected, found, mismatch);
    }

    /// <summary>The version refused.</summary>
    public PolicyVersion Version { get; }

    /// <summary>Index of the probe sequence.</summary>
    public int Sequence { get; }

    /// <summary>Index of the token within it.</summary>
    public int Position { get; }

    /// <summary>The learner's log-prob.</summary>
    public double Expected { get; }

    /// <summary>The engine's log-prob.</summary>
    public double Found { get; }

    /// <summary>How far all probe tokens are off.</summary>
    public LogProbMismatch Mismatch { get; }
}
