using Sapo.Core;

namespace Sapo.Hybrid.Tasks;

/// <summary>1 if the completion ended by itself and, white space at its ends left out, is the answer; else 0.</summary>
/// <param name="abstains">Whether it abstains from completions that were cut off, instead of scoring them 0.</param>
internal sealed class ExactMatchReward(bool abstains) : IReward
{
    /// <inheritdoc />
    public string Name => "exact";

    /// <inheritdoc />
    public ValueTask<RewardOutcome> JudgeAsync(RewardInput input, CancellationToken cancel)
    {
        if (input.Prompt.Answer is not { } answer) return ValueTask.FromResult(RewardOutcome.Abstain("the problem has no answer"));
        if (abstains && input.Completion.FinishReason == FinishReason.Length) return ValueTask.FromResult(RewardOutcome.Abstain("the completion was cut off"));
        var right = input.Completion.FinishReason != FinishReason.Length
            && string.Equals(input.Text.Trim(), answer.Trim(), StringComparison.Ordinal);
        return ValueTask.FromResult(RewardOutcome.Score(right ? 1 : 0));
    }
}
