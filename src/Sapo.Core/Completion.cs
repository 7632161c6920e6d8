namespace Sapo.Core;

/// <summary>Why a completion ended.</summary>
public enum FinishReason
{
    /// <summary>A stop token was sampled; it is the completion's last token.</summary>
    Stop,

    /// <summary>A stop string appeared in the text; the tokens that formed it are kept.</summary>
    StopString,

    /// <summary>The token limit or the context was reached: the completion is truncated.</summary>
    Length,
}

/// <summary>A run of tokens sampled by one policy version.</summary>
/// <param name="Start">Index of the first token, in the completion.</param>
/// <param name="Count">Number of tokens, at least 1.</param>
/// <param name="Version">The policy that sampled them.</param>
public readonly record struct VersionSpan(int Start, int Count, PolicyVersion Version);

/// <summary>The tokens that were most likely where one was sampled.</summary>
/// <param name="TokenIds">Their ids, most likely first; of equally likely ones the lower id comes first.</param>
/// <param name="LogProbs">Their natural log-probs, in the distribution of <see cref="Completion.UntruncatedLogProbs"/>.</param>
public sealed record TokenAlternatives(int[] TokenIds, float[] LogProbs);

/// <summary>One sampled answer with the exact probabilities it was drawn with.</summary>
public sealed record Completion
{
    /// <summary>Index within the group, from 0: part of the key of its random numbers.</summary>
    public required int SampleIndex { get; init; }

    /// <summary>The sampled ids, stop token included. Read-only by convention.</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>Per token: natural log of its probability in the distribution it was drawn from (after penalties, temperature and truncation).</summary>
    public required float[] BehaviourLogProbs { get; init; }

    /// <summary>Per token: natural log of its probability after penalties and temperature (1 when it is 0), before top-k, top-p and min-p. The same array as <see cref="BehaviourLogProbs"/> when nothing was truncated.</summary>
    public required float[] UntruncatedLogProbs { get; init; }

    /// <summary>
    /// Per token the ids that truncation kept, so that a learner can renormalise over the same set; null when nothing was truncated,
    /// and when some token's set was larger than the engine lists (<see cref="Options.EngineOptions.MaxKeptIds"/>): then it cannot be trained on.
    /// </summary>
    public int[][]? KeptTokenIds { get; init; }

    /// <summary>Per token the most likely ones beside it, as many as the request asked for; null when it asked for none.</summary>
    public TokenAlternatives[]? Alternatives { get; init; }

    /// <summary>Why it ended.</summary>
    public required FinishReason FinishReason { get; init; }

    /// <summary>Which version sampled which tokens: in order, without gaps, covering all tokens.</summary>
    public required VersionSpan[] VersionSpans { get; init; }

    /// <summary>The oldest version that sampled any of the tokens.</summary>
    public PolicyVersion OldestVersion => VersionSpans.Length == 0 ? default : VersionSpans.Min(span => span.Version);
}

/// <summary>One prompt and its G completions, in order of their sample index.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="Completions">The completions, all sampled with <paramref name="Sampling"/>.</param>
/// <param name="Sampling">How they were sampled: the learner divides its logits by the same temperature.</param>
public sealed record RolloutGroup(Prompt Prompt, IReadOnlyList<Completion> Completions, SamplingOptions Sampling)
{
    /// <summary>Whether a completion was drawn from cut distributions that it does not name: what it was drawn from cannot be computed again, so it is not trained on.</summary>
    public bool LacksKeptIds(Completion completion) => Sampling.Truncates && completion.KeptTokenIds is null;

    /// <summary>The oldest version any token came from: what staleness is counted from.</summary>
    public PolicyVersion OldestVersion => Completions.Min(completion => completion.OldestVersion);
}
