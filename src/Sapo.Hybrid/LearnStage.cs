using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Hybrid.Preferences;
using Sapo.Hybrid.Rollouts;
using Sapo.Learner;

namespace Sapo.Hybrid;

/// <summary>What one step learned.</summary>
/// <param name="Policy">The policy step.</param>
/// <param name="Preferences">The preference stage after it, if there was one.</param>
internal sealed record LearnReport(StepReport Policy, PreferenceSummary? Preferences);

/// <summary>
/// From judged groups to new weights: punishment of long completions -> advantages -> batch, used as often as the run file says ->
/// policy step -> preference stage, when due. Runs on the learner's thread.
/// </summary>
/// <param name="options">The run.</param>
/// <param name="learner">Trained.</param>
/// <param name="preferences">The preference stage, if the run has one.</param>
internal sealed class LearnStage(RunOptions options, PolicyLearner learner, PreferenceStage? preferences)
{
    private readonly IAdvantageEstimator _advantages = AdvantageRegistry.Create(options.Advantage);

    /// <summary>Learns from a step's groups.</summary>
    /// <param name="step">Counted from 1.</param>
    /// <param name="groups">With the task's rewards.</param>
    public LearnReport Learn(long step, IReadOnlyList<ScoredGroup> groups)
    {
        IReadOnlyList<ScoredGroup> rewarded = options.Rollout.Overlong is { } overlong
            ? [.. groups.Select(group => OverlongPenalty.AddTo(group, overlong, options.Rollout.MaxNewTokens))]
            : groups;
        var batch = TrainingBatch.Pack(rewarded, _advantages, options.Learner, RewardWeights(rewarded[0])).Used(Uses(step));
        return new LearnReport(learner.Step(batch), preferences?.Advance(step, groups));
    }

    /// <summary>Only gdpo looks at each reward function by itself; the others get their sum.</summary>
    private IReadOnlyList<double>? RewardWeights(ScoredGroup group) => options.Advantage.Estimator == "gdpo"
        ? options.Advantage.RewardWeights ?? [.. Enumerable.Repeat(1.0, group.Outcomes[0].Count)]
        : null;

    private int Uses(long step) => options.Learner.BatchReuse is { } reuse
        ? BatchReuse.CountAt((int)step - 1, options.Steps, reuse.First, reuse.Last)
        : 1;
}
