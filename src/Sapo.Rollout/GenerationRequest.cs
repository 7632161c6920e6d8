namespace Sapo.Rollout;

/// <summary>One prompt to answer several times.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="GroupSize">Number of completions, at least 1.</param>
/// <param name="Sampling">How tokens are drawn.</param>
public sealed record GenerationRequest(Prompt Prompt, int GroupSize, SamplingOptions Sampling)
{
    /// <summary>Largest value of <see cref="Alternatives"/>.</summary>
    public const int MaxAlternatives = 64;

    /// <summary>
    /// Sample index of the first completion. Sample index, prompt id and seed decide a completion's random numbers, so one
    /// that was lost can be made again alone. Default 0.
    /// </summary>
    public int FirstSampleIndex { get; init; }

    /// <summary>How many of the most likely tokens are told beside each sampled one, 0 to <see cref="MaxAlternatives"/>. Default 0, which costs nothing.</summary>
    public int Alternatives { get; init; }

    /// <summary>Called with each completion as soon as it is finished, on the engine's own thread: it must return quickly. What it throws fails this request.</summary>
    public Action<Completion>? CompletionFinished { get; init; }

    /// <summary>Called with each token as soon as it is sampled, on the engine's own thread: it must return quickly. What it throws fails this request.</summary>
    public Action<SampledToken>? TokenSampled { get; init; }
}

/// <summary>One token of a running completion.</summary>
/// <param name="SampleIndex">The completion.</param>
/// <param name="Position">Index within the completion, from 0.</param>
/// <param name="TokenId">The token.</param>
/// <param name="LogProb">Natural log of its probability in the distribution it was drawn from.</param>
/// <param name="UntruncatedLogProb">The same after penalties and temperature (1 when it is 0), before top-k, top-p and min-p.</param>
/// <param name="Alternatives">The most likely tokens, or null when none were asked for.</param>
public readonly record struct SampledToken(int SampleIndex, int Position, int TokenId, float LogProb, float UntruncatedLogProb, TokenAlternatives? Alternatives = null);
