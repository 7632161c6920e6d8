using Sapo.Core;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>
/// 1 if a completion's final answer is the reference answer, else 0. Numbers are compared as exact fractions, expressions
/// exactly, tuples and intervals item by item, sets and lists without brackets in any order, words without regard to case.
/// </summary>
/// <param name="form">Where the final answer stands.</param>
/// <param name="abstains">Whether it abstains from completions that were cut off or give no final answer, instead of scoring them 0.</param>
public sealed class MathReward(AnswerForm form = AnswerForm.Any, bool abstains = false) : IReward
{
    /// <inheritdoc/>
    public string Name => "math";

    /// <summary>Whether a text's final answer is the reference answer. Never throws, whatever the text.</summary>
    /// <param name="reference">The reference answer: the answer itself, or a solution that ends with <c>#### answer</c> or holds it in a box.</param>
    /// <param name="completion">The text to judge.</param>
    /// <param name="form">Where its final answer stands.</param>
    public static bool IsRight(string reference, string completion, AnswerForm form) =>
        AnswerExtraction.Extract(completion, form) is { } answer && MathAnswer.AreEqual(InReference(reference), answer);

    /// <summary>A reference may be a whole solution: GSM8K's end with hash marks, MATH's with a box.</summary>
    private static string InReference(string reference) =>
        AnswerExtraction.Extract(reference, AnswerForm.HashMarks) ?? AnswerExtraction.Extract(reference, AnswerForm.Boxed) ?? reference;

    /// <inheritdoc/>
    public ValueTask<RewardOutcome> JudgeAsync(RewardInput input, CancellationToken cancel) => ValueTask.FromResult(Judge(input));

    private RewardOutcome Judge(RewardInput input)
    {
        if (input.Prompt.Answer is not { } reference) return RewardOutcome.Abstain("the problem has no answer");
        var unanswered = abstains && (input.Completion.FinishReason == FinishReason.Length || AnswerExtraction.Extract(input.Text, form) is null);
        return unanswered ? RewardOutcome.Abstain("the completion gives no final answer") : RewardOutcome.Score(IsRight(reference, input.Text, form) ? 1 : 0);
    }
}
