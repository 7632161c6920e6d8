namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>Where in a completion the final answer stands.</summary>
public enum AnswerForm
{
    /// <summary>
    /// What follows the last <c>&lt;/think&gt;</c> if there is a thought; in it the last complete box, else the last line marked by
    /// <c>####</c>, else what follows the last "answer is" or "answer:". A thought that never ends has no answer.
    /// </summary>
    Any,

    /// <summary>The content of the last complete <c>\boxed{...}</c>.</summary>
    Boxed,

    /// <summary>The rest of the line after the last <c>####</c>, as in GSM8K.</summary>
    HashMarks,

    /// <summary>What follows the last "answer is" or "answer:".</summary>
    Sentence,

    /// <summary>Only what follows the last <c>&lt;/think&gt;</c> counts, and there the last complete box.</summary>
    BoxedAfterThought,
}
