// Judged groups -> advantages -> mini-batches of whole groups, on the host. What cannot be trained on rightly is refused here.
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Batches;

namespace Sapo.Learner;

/// <summary>One rollout batch, ready to be learned from.</summary>
public sealed class TrainingBatch
{
    internal TrainingBatch(IReadOnlyList<MiniBatch> miniBatches, double groupsWithoutSignal) =>
        (MiniBatches, GroupsWithoutSignal) = (miniBatches, groupsWithoutSignal);

    /// <summary>Share of groups whose rewards are all equal.</summary>
    public double GroupsWithoutSignal { get; }

    /// <summary>Completions, trained on or not, counted at every use.</summary>
    public int Completions => MiniBatches.Sum(miniBatch => miniBatch.Rows.Count);

    internal IReadOnlyList<MiniBatch> MiniBatches { get; }

    /// <summary>
    /// Turns judged groups into a batch. Mini-batches hold whole groups in order, as equal in number as possible; with fewer groups
    /// than mini-batches every group is one. A completion without a reward, without tokens, or without the kept ids of its cut distributions
    /// counts as a sequence and teaches nothing.
    /// </summary>
    /// <param name="groups">At least one.</param>
    /// <param name="advantages">Turns rewards into advantages.</param>
    /// <param name="options">Number of mini-batches, and whether truncated completions are masked.</param>
    /// <param name="rewardWeights">Weight of each reward function, for estimators that treat them apart; null gives them the combined reward.</param>
    /// <exception cref="UserErrorException">A reward or a log-prob is not finite, or a completion was sampled in a way that cannot be trained on.</exception>
    public static TrainingBatch Pack(IReadOnlyList<ScoredGroup> groups, IAdvantageEstimator advantages, LearnerOptions options, IReadOnlyList<double>? rewardWeights = null)
    {
        if (groups.Count == 0) throw new ArgumentException("There is no group.", nameof(groups));
        if (groups.All(group => group.Group.Completions.All(group.Group.LacksKeptIds)))
            throw new UserErrorException(
                $"Prompt {groups[0].Group.Prompt.Id} and all others of the step were sampled with top-k, top-p or min-p, but no completion says which tokens were kept", "the kept ids of every token",
                "Raise engine.maxKeptIds, cut more, or sample from the whole distribution");
        var estimated = advantages.Estimate(new AdvantageInput([.. groups.Select(group => ToAdvantageGroup(group, rewardWeights is not null))], rewardWeights));
        var rows = groups.Select((group, index) => Rows(group.Group, estimated, index, options.MaskTruncated).ToArray()).ToArray();
        var count = Math.Min(options.MiniBatches, groups.Count);
        return new TrainingBatch(
            [.. Enumerable.Range(0, count).Select(part => new MiniBatch([.. rows[(part * groups.Count / count)..((part + 1) * groups.Count / count)].SelectMany(group => group)]))],
            estimated.ZeroSpreadFraction);
    }

    /// <summary>The same batch, to be gone through several times in one step: every mini-batch comes again after the last.</summary>
    public TrainingBatch Used(int times)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(times, 1);
        return new TrainingBatch([.. Enumerable.Repeat(MiniBatches, times).SelectMany(use => use)], GroupsWithoutSignal);
    }

    private static AdvantageGroup ToAdvantageGroup(ScoredGroup group, bool perFunction)
    {
        var completions = group.Group.Completions;
        if (group.Rewards.Count != completions.Count)
            throw new InvalidDataException($"Prompt {group.Group.Prompt.Id} has {completions.Count} completions but {group.Rewards.Count} rewards.");
        return new AdvantageGroup
        {
            PromptId = group.Group.Prompt.Id.ToString(),
            Rewards = [.. group.Rewards.Select((reward, index) => perFunction ? Scores(group.Outcomes[index], reward) : new[] { reward })],
            Lengths = [.. completions.Select(completion => completion.TokenIds.Length)],
        };
    }

    /// <summary>Per function its score; nothing at all where the completion has no combined reward, such as after a failure.</summary>
    private static double?[] Scores(IReadOnlyList<RewardOutcome> outcomes, double? combined) =>
        [.. outcomes.Select(outcome => combined is not null && outcome.Status == RewardStatus.Score ? outcome.Value : (double?)null)];

    private static IEnumerable<TrainingRow> Rows(RolloutGroup group, AdvantageResult advantages, int index, bool maskTruncated)
    {
        if (group.Prompt.TokenIds.Length == 0)
            throw new UserErrorException($"Prompt {group.Prompt.Id} has no tokens", "at least one", "Begin prompts with the model's begin-of-sequence token");
        if (group.Sampling.Temperature <= 0)
            throw new UserErrorException($"Prompt {group.Prompt.Id} was sampled at temperature {group.Sampling.Temperature}", "a temperature above 0", "Train on sampled completions, not on greedy ones");
        for (var sample = 0; sample < group.Completions.Count; sample++)
        {
            var completion = group.Completions[sample];
            Check(group, completion);
            double[] perToken = advantages.Tokens is { } tokens
                ? tokens[index][sample]
                : [.. Enumerable.Repeat(advantages.Sequence[index][sample], completion.TokenIds.Length)];
            yield return new TrainingRow(
                group.Prompt.TokenIds, new TokenRow(completion.TokenIds, completion.KeptTokenIds), group.Sampling.Temperature, completion.BehaviourLogProbs, perToken,
                (maskTruncated && completion.FinishReason == FinishReason.Length) || group.LacksKeptIds(completion));
        }
    }

    private static void Check(RolloutGroup group, Completion completion)
    {
        var name = $"Prompt {group.Prompt.Id}, completion {completion.SampleIndex}";
        if (completion.BehaviourLogProbs.Length != completion.TokenIds.Length)
            throw new InvalidDataException($"{name} has {completion.TokenIds.Length} tokens but {completion.BehaviourLogProbs.Length} log-probs.");
        var bad = Array.FindIndex(completion.BehaviourLogProbs, logProb => !float.IsFinite(logProb));
        if (bad >= 0)
            throw new UserErrorException($"{name}: the behaviour log-prob of token {bad} is {completion.BehaviourLogProbs[bad]}", "a finite number", "Sample the completion again");
        if (!group.Sampling.Truncates || completion.KeptTokenIds is not { } kept) return;
        if (kept.Length != completion.TokenIds.Length)
            throw new InvalidDataException($"{name} has {completion.TokenIds.Length} tokens but kept ids for {kept.Length}.");
        for (var token = 0; token < kept.Length; token++)
            if (!kept[token].Contains(completion.TokenIds[token]))
                throw new UserErrorException($"{name}: token {token} has id {completion.TokenIds[token]}, which is not among its kept ids", null, "Sample the completion again");
    }
}
