namespace Sapo.Rollout;

/// <summary>One prompt to answer several times.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="GroupSize">Number of completions, at least 1.</param>
/// <param name="Sampling">How tokens are drawn.</param>
public sealed record GenerationRequest(Prompt Prompt, int GroupSize, SamplingOptions Sampling)
{
    /// <summary>
    /// Sample index of the first completion. Sample index, prompt id and seed decide a completion's random numbers, so one
    /// that was lost can be made again alone. Default 0.
    /// </summary>
    public int FirstSampleIndex { get; init; }

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
/// <param name="UntruncatedLogProb">The same at the temperature (at 1 when it is 0), before top-k, top-p and min-p.</param>
public readonly record struct SampledToken(int SampleIndex, int Position, int TokenId, float LogProb, float UntruncatedLogProb);
