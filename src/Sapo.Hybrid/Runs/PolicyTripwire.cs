// Notices a policy that has turned to garbage, or whose weights were broken on their way from the learner to the engine:
//
//   groups of a step ──> Examine: sums per version, compared with the version before ──> learn ──> Examine: mismatch ──> publish
//                        (refused: nothing of this step is learned)                      (refused: nothing of it is kept)
//
// It sees groups in prompt order, as they are trained on, so a repeated or resumed synchronous run compares the same numbers.
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Runs;

/// <summary>The policy looks broken: the run stops with what was found and expected.</summary>
public sealed class PolicyBrokenException(string message) : Exception(message);

/// <summary>Compares each version's completions with those of the version before.</summary>
/// <param name="options">The limits.</param>
/// <param name="state">What was seen before an interruption, or null.</param>
internal sealed class PolicyTripwire(TripwireOptions options, TripwireState? state)
{
    /// <summary>Fewer completions than this of either version are compared, but never end a run.</summary>
    public const int FewestCompletions = 8;

    /// <summary>Standard deviations of a share that count as chance.</summary>
    private const double ChanceDeviations = 3;

    /// <summary>What was seen so far; null before the first group.</summary>
    public TripwireState? State { get; private set; } = state;

    /// <summary>Takes in the groups of a step that is about to be trained on.</summary>
    /// <returns>The newest version beside the one before it; null while there is one version only.</returns>
    /// <exception cref="PolicyBrokenException">The newest version looks broken.</exception>
    public VersionComparison? Examine(IReadOnlyList<ScoredGroup> groups)
    {
        foreach (var group in groups)
            foreach (var completion in group.Group.Completions)
                Add(completion);
        if (State is not { Previous: { } previous, Current: var current, First: var first }) return null;
        if (Math.Min(previous.Completions, current.Completions) >= FewestCompletions) Check(first, previous, current);
        return new VersionComparison
        {
            Version = current.Version,
            Previous = previous.Version,
            Completions = current.Completions,
            LogProbNats = current.MeanLogProb,
            PreviousLogProbNats = previous.MeanLogProb,
            FirstLogProbNats = first.MeanLogProb,
            TruncatedShare = current.TruncatedShare,
            PreviousTruncatedShare = previous.TruncatedShare,
        };
    }

    /// <summary>Looks at a step that was learned and is not published yet.</summary>
    /// <exception cref="PolicyBrokenException">Sampler and learner do not agree on the tokens' log-probs.</exception>
    public void Examine(MismatchDiagnostics mismatch)
    {
        if (options.MismatchNats is not { } limit || mismatch.Tokens == 0 || mismatch.K3 <= limit) return;
        throw new PolicyBrokenException(
            $"The engine's log-probs are not the learner's: KL(sampler || learner) is {mismatch.K3:G3} nats per token over {mismatch.Tokens:N0} tokens of the first mini-batch; "
            + $"expected at most {limit:G3} (tripwire.mismatchNats). The step is not kept, the last checkpoint is. Check that the published weights are the learner's, "
            + "or raise the limit where engine.precision or penalties explain the difference.");
    }

    // A completion that several versions sampled says nothing of either, and one of an older version comes too late.
    private void Add(Completion completion)
    {
        if (completion.VersionSpans is not [var span]) return;
        var version = span.Version.Value;
        if (State is null) State = Begin(null, version);
        else if (version > State.Current.Version) State = Begin(State, version);
        if (version == State.Current.Version) State = State with { Current = Plus(State.Current, completion) };
        else if (version == State.Previous?.Version) State = State with { Previous = Plus(State.Previous, completion) };
        if (version == State.First.Version) State = State with { First = Plus(State.First, completion) };
    }

    private static TripwireState Begin(TripwireState? before, long version)
    {
        var sums = new VersionSums { Version = version };
        return new TripwireState(before?.First ?? sums, before?.Current, sums);
    }

    private static VersionSums Plus(VersionSums sums, Completion completion) => sums with
    {
        Completions = sums.Completions + 1,
        Tokens = sums.Tokens + completion.TokenIds.Length,
        LogProbs = sums.LogProbs + completion.UntruncatedLogProbs.Sum(logProb => (double)logProb),
        Truncated = sums.Truncated + (completion.FinishReason == FinishReason.Length ? 1 : 0),
    };

    private void Check(VersionSums first, VersionSums previous, VersionSums current)
    {
        double found = current.MeanLogProb, change = found - previous.MeanLogProb, sinceFirst = found - first.MeanLogProb;
        if (options.LogProbNats is { } nats && !(Math.Abs(change) <= nats))
            throw Broken(current, $"mean log-prob per token is {found:F3}, it was {previous.MeanLogProb:F3} in {Name(previous)}", $"a change of at most {nats:G3} nats (tripwire.logProbNats)");
        if (options.LogProbNats is { } fall && !(sinceFirst >= -fall))
            throw Broken(current, $"mean log-prob per token is {found:F3}, it was {first.MeanLogProb:F3} in {Name(first)}, the run's first", $"a fall of at most {fall:G3} nats (tripwire.logProbNats)");
        var rise = current.TruncatedShare - previous.TruncatedShare;
        if (options.TruncatedShare is { } share && rise > share + Chance(previous, current))
            throw Broken(current, $"share of truncated completions is {current.TruncatedShare:P0}, it was {previous.TruncatedShare:P0} in {Name(previous)}", $"a rise of at most {share:P0} beyond chance (tripwire.truncatedShare)");
    }

    /// <summary>How far two shares may lie from the ones behind them.</summary>
    private static double Chance(VersionSums a, VersionSums b) => ChanceDeviations * Math.Sqrt(Variance(a) + Variance(b));

    // Of a share of few completions; one success and one failure are added, so that 0 of 8 is no certainty (Laplace).
    private static double Variance(VersionSums sums)
    {
        var share = (sums.Truncated + 1.0) / (sums.Completions + 2.0);
        return share * (1 - share) / sums.Completions;
    }

    private static PolicyBrokenException Broken(VersionSums version, string found, string expected) => new(
        $"Policy {Name(version)} looks broken: over {version.Completions:N0} completions its {found}; expected {expected}. "
        + "Nothing of this step was trained on, and the last checkpoint is kept. Look at the completions in rollouts/refused.jsonl; lower the learning rate, or check the weights.");

    private static string Name(VersionSums sums) => new PolicyVersion(sums.Version).ToString();
}
