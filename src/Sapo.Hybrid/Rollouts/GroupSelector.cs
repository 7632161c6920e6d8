using System.Diagnostics;
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Rollouts;

/// <summary>Decides which groups are worth a place in a step: section <c>selection</c> of the run file.</summary>
/// <param name="options">The rule; null finds every group useful.</param>
/// <param name="promptsPerStep">Groups per step.</param>
public sealed class GroupSelector(SelectionOptions? options, int promptsPerStep)
{
    /// <summary>Most groups replaced per step; after that every group is taken, so that a step always ends.</summary>
    public int MostReplaced { get; } = options is null ? 0 : checked((options.MostBatches - 1) * promptsPerStep);

    /// <summary>Whether something can be learned from a group, by the rewards of its scored completions.</summary>
    public bool IsUseful(ScoredGroup group)
    {
        double[] rewards = [.. group.Rewards.OfType<double>()];
        return options?.Rule switch
        {
            null => true,
            SelectionOptions.Informative => rewards.Length > 1 && GroupSelection.IsInformative(rewards),
            SelectionOptions.SolveCount => GroupSelection.HasLearnableSolveCount(rewards, options.SolvedAbove ?? 0.5, options.MostSolved ?? group.Rewards.Count - 1),
            _ => throw new UnreachableException($"The selection rule {options.Rule} is allowed but has no implementation."),
        };
    }
}
