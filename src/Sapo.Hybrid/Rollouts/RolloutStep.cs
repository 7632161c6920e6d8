using Sapo.Core;

namespace Sapo.Hybrid.Rollouts;

/// <summary>What one step samples: the groups it trains on, and those that further prompts took the place of.</summary>
/// <param name="Groups">promptsPerStep groups, in prompt order.</param>
/// <param name="Replaced">Groups that the run's selection found useless, in prompt order; empty without a selection.</param>
public sealed record RolloutStep(IReadOnlyList<ScoredGroup> Groups, IReadOnlyList<ScoredGroup> Replaced)
{
    /// <summary>Everything sampled for the step, in prompt order: rewards are counted over it, so that a selection does not colour them.</summary>
    public IReadOnlyList<ScoredGroup> Sampled { get; } = [.. Groups.Concat(Replaced).OrderBy(group => group.Group.Prompt.Id)];

    /// <summary>Share of the sampled completions that were replaced.</summary>
    public double WastedShare => Replaced.Sum(Size) / (double)Sampled.Sum(Size);

    private static int Size(ScoredGroup group) => group.Rewards.Count;
}
