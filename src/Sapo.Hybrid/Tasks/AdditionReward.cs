using Sapo.Core;

namespace Sapo.Hybrid.Tasks;

/// <summary>1 if the completion ended by itself, holds exactly one <c>&gt;</c>, and the text after it is the answer; else 0.</summary>
internal sealed class AdditionReward : IReward
{
    /// <inheritdoc />
    public string Name => "right";

    /// <inheritdoc />
    public ValueTask<RewardOutcome> JudgeAsync(RewardInput input, CancellationToken cancel)
    {
        var parts = input.Text.Split('>');
        var right = input.Completion.FinishReason == FinishReason.Stop && parts.Length == 2
            && string.Equals(parts[1], input.Prompt.Answer, StringComparison.Ordinal);
        return ValueTask.FromResult(RewardOutcome.Score(right ? 1 : 0));
    }
}
