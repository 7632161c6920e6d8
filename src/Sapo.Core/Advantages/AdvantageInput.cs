namespace Sapo.Core.Advantages;

/// <summary>The rewards of one prompt's completions, and what token-level estimators need beside them.</summary>
public sealed record AdvantageGroup
{
    /// <summary>The prompt, named in errors.</summary>
    public required string PromptId { get; init; }

    /// <summary>[G][n] score of each completion by each reward function; null: an abstention.</summary>
    public required double?[][] Rewards { get; init; }

    /// <summary>[G] counted tokens of each completion; needed by estimators that weigh by tokens.</summary>
    public int[]? Lengths { get; init; }

    /// <summary>[G][length] log-probs of the old policy; needed by reinforce++ with a KL penalty in the reward.</summary>
    public double[][]? OldLogProbs { get; init; }

    /// <summary>[G][length] log-probs of the reference policy; needed by reinforce++ with a KL penalty in the reward.</summary>
    public double[][]? ReferenceLogProbs { get; init; }

    /// <summary>G: completions of the group.</summary>
    public int Size => Rewards.Length;
}

/// <summary>Everything an advantage estimator sees: one whole rollout batch.</summary>
/// <param name="Groups">One entry per prompt.</param>
/// <param name="RewardWeights">[n] weight of each reward function; null: 1 each.</param>
public sealed record AdvantageInput(IReadOnlyList<AdvantageGroup> Groups, IReadOnlyList<double>? RewardWeights = null)
{
    /// <summary>Weight of reward function <paramref name="index"/>.</summary>
    internal double WeightOf(int index) => RewardWeights?[index] ?? 1;

    /// <summary>
    /// [groups][G] the weighted sum of each completion's scores; null where every function abstained. Functions that abstained
    /// on one completion are left out of its sum.
    /// </summary>
    internal double?[][] CombinedRewards() => [.. Groups.Select(group => group.Rewards.Select(scores => Combine(scores)).ToArray())];

    /// <summary>Refuses rewards that are not finite, ragged rewards and a wrong number of weights.</summary>
    /// <exception cref="UserErrorException">Found one; the message names the prompt and the completion.</exception>
    internal void Validate()
    {
        int? functions = RewardWeights?.Count;
        foreach (AdvantageGroup group in Groups)
        {
            for (int completion = 0; completion < group.Size; completion++)
            {
                double?[] scores = group.Rewards[completion];
                functions ??= scores.Length;
                if (scores.Length != functions)
                    throw new UserErrorException($"Prompt {group.PromptId}, completion {completion} has {scores.Length} rewards", $"{functions}, as other completions or the weights",
                        "Give every completion one outcome per reward function");
                int bad = Array.FindIndex(scores, score => score is { } value && !double.IsFinite(value));
                if (bad >= 0)
                    throw new UserErrorException($"Prompt {group.PromptId}, completion {completion}: reward {bad} is {scores[bad]}", "a finite number",
                        "Correct the reward function, or let it abstain where it has no opinion");
            }
            if (group.Lengths is { } lengths && lengths.Length != group.Size)
                throw new InvalidDataException($"Prompt {group.PromptId} has {group.Size} completions but {lengths.Length} lengths.");
        }
    }

    private double? Combine(double?[] scores)
    {
        double? sum = null;
        for (int index = 0; index < scores.Length; index++)
            if (scores[index] is { } score) sum = (sum ?? 0) + WeightOf(index) * score;
        return sum;
    }
}

/// <summary>The advantages of a rollout batch.</summary>
public sealed record AdvantageResult
{
    /// <summary>[groups][G] the advantage of each completion; 0 for completions without a reward. For token-level estimators the mean over the completion's tokens.</summary>
    public required double[][] Sequence { get; init; }

    /// <summary>[groups][G][length] an advantage per token, only from estimators that give one; null otherwise.</summary>
    public double[][][]? Tokens { get; init; }

    /// <summary>Share of groups whose rewards are all equal, so that they teach nothing.</summary>
    public required double ZeroSpreadFraction { get; init; }

    /// <summary>Completions left out because no reward function scored them.</summary>
    public required int Abstained { get; init; }
}

/// <summary>
/// Turns rewards into advantages. A pure function of a whole rollout batch, all statistics in double precision.
/// Rules for every estimator: equal rewards give exactly 0; a completion without a reward is left out of every statistic and
/// gets 0; a reward that is not finite is refused with its prompt's id.
/// </summary>
public interface IAdvantageEstimator
{
    /// <summary>The name used in run files.</summary>
    string Name { get; }

    /// <summary>The advantages of a batch.</summary>
    /// <exception cref="UserErrorException">A reward is not finite or missing in a way the estimator cannot take.</exception>
    AdvantageResult Estimate(AdvantageInput input);
}
