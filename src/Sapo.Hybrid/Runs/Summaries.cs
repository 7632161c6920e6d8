using Sapo.Core;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Runs;

/// <summary>Counts over judged groups.</summary>
internal static class Summaries
{
    /// <summary>What the rewards said.</summary>
    public static RewardSummary Rewards(RolloutStep step, ITrainingTask task, Func<Completion, string> textOf)
    {
        var groups = step.Sampled;
        var rewards = groups.SelectMany(group => group.Rewards).ToArray();
        return new RewardSummary
        {
            Mean = rewards.Average(),
            PassRate = rewards.Count(reward => reward >= 1) / (double)rewards.Length,
            GroupsWithoutSignal = step.Groups.Count(
                group => group.Rewards.Where(reward => reward is not null).Distinct().Count() < 2) / (double)step.Groups.Count,
            WastedShare = step.WastedShare,
            Failures = groups.Sum(
                group => group.Outcomes.Count(outcomes => outcomes.Any(outcome => outcome.Status == RewardStatus.Failure))),
            Abstentions = groups.Sum(
                group => group.Outcomes.Count(outcomes => outcomes.All(outcome => outcome.Status == RewardStatus.Abstention))),
            Styles = Styles(groups, task, textOf),
        };
    }

    /// <summary>What was sampled.</summary>
    public static CompletionSummary Completions(IReadOnlyList<ScoredGroup> groups, PolicyVersion learner)
    {
        var completions = groups.SelectMany(group => group.Group.Completions).ToArray();
        return new CompletionSummary
        {
            Count = completions.Length,
            MeanTokens = completions.Average(completion => completion.TokenIds.Length),
            MaxTokens = completions.Max(completion => completion.TokenIds.Length),
            EndedShare = completions.Count(completion => completion.FinishReason != FinishReason.Length) / (double)completions.Length,
            WithoutKeptIds = groups.Sum(group => group.Group.Completions.Count(group.Group.LacksKeptIds)),
            MaxStaleness = groups.Max(group => learner - group.Group.OldestVersion),
            MeanStaleness = groups.Average(group => learner - group.Group.OldestVersion),
        };
    }

    /// <summary>What the learner did.</summary>
    public static LearnerSummary Learner(StepReport report) => new()
    {
        Objective = report.Objective,
        EntropyNats = report.TrainedTokens == 0 ? null : report.Entropy,
        GradientNorm = report.MiniBatches.Average(miniBatch => miniBatch.GradientNorm),
        ClippedShare = report.ClippedShare,
        LearningRate = report.LearningRate,
        Mismatch = report.Mismatch.Tokens == 0
            ? null
            : new MismatchSummary { KlNats = report.Mismatch.K3, MaxNats = report.Mismatch.LargestDifference },
        GatePositive = Quantiles(report.GatePositive),
        GateNegative = Quantiles(report.GateNegative),
        Metrics = report.ObjectiveMetrics,
        MiniBatches = report.MiniBatches,
        SkippedUpdates = report.MiniBatches.Count(miniBatch => miniBatch.SkippedFor is not null),
        TrainedTokens = report.TrainedTokens,
        ComputedTokens = report.ComputedTokens,
    };

    private static QuantileSummary? Quantiles(Distribution? quantiles) =>
        quantiles is null ? null : new QuantileSummary(quantiles.P10, quantiles.P50, quantiles.P90);

    /// <summary>Share of each way of solving among the completions whose problem tells them apart.</summary>
    public static IReadOnlyDictionary<string, double> Styles(
        IReadOnlyList<ScoredGroup> groups, ITrainingTask task, Func<Completion, string> textOf)
    {
        var styles = groups.SelectMany(
            group => group.Group.Completions.Select(
                completion => task.StyleOf(group.Group.Prompt, textOf(completion)))).OfType<string>().ToArray();
        return styles.GroupBy(style => style, StringComparer.Ordinal).OrderBy(group => group.Key, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.Count() / (double)styles.Length, StringComparer.Ordinal);
    }
}
