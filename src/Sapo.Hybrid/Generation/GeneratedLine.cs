using System.Text.Json.Serialization;
using Sapo.Core;

namespace Sapo.Hybrid.Generation;

/// <summary>One completion: a line of what <c>sapo rollout</c> writes.</summary>
public sealed record GeneratedLine
{
    /// <summary>The line of the prompts file, from 1.</summary>
    public required int Line { get; init; }

    /// <summary>Index of the completion among those of its prompt, from 0.</summary>
    public required int Sample { get; init; }

    /// <summary>The completion as text, special tokens left out.</summary>
    public required string Text { get; init; }

    /// <summary><c>Stop</c>, <c>StopString</c> or <c>Length</c>.</summary>
    public required string FinishReason { get; init; }

    /// <summary>The sampled ids, end token included.</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>Natural log-probs of the distributions the tokens were drawn from; only when asked for.</summary>
    public float[]? LogProbs { get; init; }

    /// <summary>The same after penalties and temperature (1 when it is 0), before truncation; only where they differ from <see cref="LogProbs"/>.</summary>
    public float[]? UntruncatedLogProbs { get; init; }

    /// <summary>Per token the most likely ones, with log-probs as <see cref="UntruncatedLogProbs"/>; only when asked for.</summary>
    public LikelyToken[][]? TopLogProbs { get; init; }

    /// <summary>A completion as a line.</summary>
    /// <param name="line">The line of its prompt.</param>
    /// <param name="completion">The completion.</param>
    /// <param name="text">Its text.</param>
    /// <param name="logProbs">Whether log-probs are written.</param>
    internal static GeneratedLine Of(int line, Completion completion, string text, bool logProbs) => new()
    {
        Line = line,
        Sample = completion.SampleIndex,
        Text = text,
        FinishReason = completion.FinishReason.ToString(),
        TokenIds = completion.TokenIds,
        LogProbs = logProbs ? completion.BehaviourLogProbs : null,
        UntruncatedLogProbs = logProbs && !ReferenceEquals(completion.UntruncatedLogProbs, completion.BehaviourLogProbs) ? completion.UntruncatedLogProbs : null,
        TopLogProbs = completion.Alternatives is { } alternatives ? [.. alternatives.Select(LikelyToken.Of)] : null,
    };
}

/// <summary>One of the most likely tokens.</summary>
/// <param name="TokenId">Its id.</param>
/// <param name="LogProb">Its natural log-prob.</param>
public sealed record LikelyToken(int TokenId, float LogProb)
{
    internal static LikelyToken[] Of(TokenAlternatives alternatives) => [.. alternatives.TokenIds.Zip(alternatives.LogProbs, (id, logProb) => new LikelyToken(id, logProb))];
}

/// <summary>
/// What an output file was begun with: <c>&lt;out&gt;.options.json</c>. A restart with other options is refused, since
/// the file would mix both.
/// </summary>
public sealed record GenerationStamp
{
    /// <summary>The model's folder.</summary>
    public required string Model { get; init; }

    /// <summary>SHA-256 of its weights, from its manifest.</summary>
    public required string Weights { get; init; }

    /// <summary>The prompts file.</summary>
    public required string Prompts { get; init; }

    /// <summary>Completions per prompt.</summary>
    public required int Samples { get; init; }

    /// <summary>Whether log-probs are written.</summary>
    public required bool LogProbs { get; init; }

    /// <summary>How many of the most likely tokens are written.</summary>
    public int TopLogProbs { get; init; }

    /// <summary>Whether plain prompts go through the chat template.</summary>
    public required bool Chat { get; init; }

    /// <summary>How tokens are drawn.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>What decoded: ort or genai.</summary>
    public required string Session { get; init; }

    /// <summary>What weights were read in.</summary>
    public required string Precision { get; init; }
}

/// <summary>Reads and writes them.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GeneratedLine))]
[JsonSerializable(typeof(GenerationStamp))]
internal sealed partial class GenerationJson : JsonSerializerContext;
