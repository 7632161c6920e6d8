using System.Text.Json.Serialization;

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

    /// <summary>Whether plain prompts go through the chat template.</summary>
    public required bool Chat { get; init; }

    /// <summary>How tokens are drawn.</summary>
    public required Core.SamplingOptions Sampling { get; init; }

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
