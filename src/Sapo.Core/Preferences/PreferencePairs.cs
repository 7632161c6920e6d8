namespace Sapo.Core.Preferences;

/// <summary>What a verifier found of one completion of a group.</summary>
/// <param name="Text">The completion as text; pairs of identical texts are not built.</param>
/// <param name="Correct">Whether the answer is right.</param>
/// <param name="Repetitive">Whether it repeats itself.</param>
/// <param name="TooShort">Whether its reasoning is too short.</param>
/// <param name="Consistent">Whether the reasoning entails the answer; null: not known.</param>
public sealed record VerifiedCompletion(string Text, bool Correct, bool Repetitive, bool TooShort, bool? Consistent);

/// <summary>Why one completion is preferred to another.</summary>
public enum PreferenceKind
{
    /// <summary>The other one is wrong, repetitive or too short.</summary>
    Penalty,

    /// <summary>The other one is right, but its reasoning does not entail its answer.</summary>
    Consistency,
}

/// <summary>One preference pair within a group.</summary>
/// <param name="Chosen">Index of the preferred completion.</param>
/// <param name="Rejected">Index of the other one.</param>
/// <param name="Kind">Why.</param>
public readonly record struct PreferencePair(int Chosen, int Rejected, PreferenceKind Kind);

/// <summary>
/// VerIPO's preference pairs (arXiv 2505.19000), mined from a group's rollouts by a verifier. The pairing rule is OURS, the paper's
/// thresholds were not found: good = non-empty, correct, not repetitive, long enough and consistent; every good completion is
/// paired with every other non-empty completion of a different text that has a known fault. No reflection pairs.
/// </summary>
public static class PreferencePairs
{
    /// <summary>The pairs of one group, in the order of the completions; none where no completion is good.</summary>
    public static IReadOnlyList<PreferencePair> Of(IReadOnlyList<VerifiedCompletion> group)
    {
        var pairs = new List<PreferencePair>();
        for (int chosen = 0; chosen < group.Count; chosen++)
        {
            if (!IsGood(group[chosen])) continue;
            for (int rejected = 0; rejected < group.Count; rejected++)
                if (rejected != chosen && group[rejected].Text != group[chosen].Text && FaultOf(group[rejected]) is { } kind)
                    pairs.Add(new PreferencePair(chosen, rejected, kind));
        }
        return pairs;
    }

    private static bool IsGood(VerifiedCompletion completion) =>
        completion is { Text.Length: > 0, Correct: true, Repetitive: false, TooShort: false, Consistent: true };

    /// <summary>What is wrong with a completion; null where nothing is known to be, or where it is empty.</summary>
    private static PreferenceKind? FaultOf(VerifiedCompletion completion) => completion switch
    {
        { Text.Length: 0 } => null,
        { Correct: false } or { Repetitive: true } or { TooShort: true } => PreferenceKind.Penalty,
        { Consistent: false } => PreferenceKind.Consistency,
        _ => null,
    };
}
