using Sapo.Core;

namespace Sapo.Hybrid.Rollouts;

/// <summary>Asks every reward function about every completion of a group.</summary>
public sealed class RewardJudge
{
    private readonly IReadOnlyList<IReward> _rewards;
    private readonly Func<int[], string> _decode;

    /// <summary>A judge with fixed reward functions.</summary>
    /// <param name="rewards">In the order their outcomes are logged.</param>
    /// <param name="decode">Completion ids to text, special tokens left out; thread-safe.</param>
    public RewardJudge(IReadOnlyList<IReward> rewards, Func<int[], string> decode) => (_rewards, _decode) = (rewards, decode);

    /// <summary>The completion as text.</summary>
    public string TextOf(Completion completion) => _decode(completion.TokenIds);

    /// <summary>
    /// Judges a group. An exception thrown by a reward function is its failure on that completion: counted, logged with its
    /// message, and the completion is not trained on. Only cancellation passes through.
    /// </summary>
    public async Task<ScoredGroup> JudgeAsync(RolloutGroup group, CancellationToken cancel)
    {
        var outcomes = new IReadOnlyList<RewardOutcome>[group.Completions.Count];
        for (var i = 0; i < outcomes.Length; i++)
        {
            var input = new RewardInput(group.Prompt, group.Completions[i], TextOf(group.Completions[i]));
            var ofCompletion = new RewardOutcome[_rewards.Count];
            for (var r = 0; r < ofCompletion.Length; r++)
                ofCompletion[r] = await AskAsync(_rewards[r], input, cancel).ConfigureAwait(false);
            outcomes[i] = ofCompletion;
        }
        return new ScoredGroup(group, outcomes, [.. outcomes.Select(Combine)]);
    }

    private static async ValueTask<RewardOutcome> AskAsync(IReward reward, RewardInput input, CancellationToken cancel)
    {
        try
        {
            return await reward.JudgeAsync(input, cancel).ConfigureAwait(false);
        }
        catch (Exception failure) when (!cancel.IsCancellationRequested)
        {
            return RewardOutcome.Fail($"{reward.Name}: {failure.GetType().Name}: {failure.Message}");
        }
    }

    /// <summary>The sum of the scores; null where a function failed or all abstained.</summary>
    private static double? Combine(IReadOnlyList<RewardOutcome> outcomes)
    {
        var failed = outcomes.Any(outcome => outcome.Status == RewardStatus.Failure);
        var abstained = outcomes.All(outcome => outcome.Status == RewardStatus.Abstention);
        return failed || abstained ? null : outcomes.Sum(outcome => outcome.Value);
    }
}
