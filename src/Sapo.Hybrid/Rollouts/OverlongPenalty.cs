using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Rollouts;

/// <summary>Adds DAPO's punishment of long completions to rewards, as one more outcome: section <c>rollout.overlong</c>.</summary>
internal static class OverlongPenalty
{
    /// <summary>The group with the rewards that are trained on. A completion without a reward stays without one.</summary>
    public static ScoredGroup AddTo(ScoredGroup group, OverlongOptions options, int maxNewTokens)
    {
        double[] penalties = [.. group.Group.Completions.Select(
            completion => GroupSelection.OverlongPenalty(completion.TokenIds.Length, maxNewTokens, options.Cache, options.Penalty))];
        return group with
        {
            Outcomes = [.. group.Outcomes.Select((outcomes, i) => (IReadOnlyList<RewardOutcome>)[.. outcomes, RewardOutcome.Score(penalties[i])])],
            Rewards = [.. group.Rewards.Select((reward, i) => reward + penalties[i])],
        };
    }
}
