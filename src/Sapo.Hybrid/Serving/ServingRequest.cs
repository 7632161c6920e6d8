using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Serving;

/// <summary>What a client asks for, read and checked, in the engine's terms.</summary>
public sealed record ServingRequest
{
    /// <summary>Whether it is answered as a chat completion.</summary>
    public required bool IsChat { get; init; }

    /// <summary>The prompts, at least one; a chat has exactly one.</summary>
    public required IReadOnlyList<ServedPrompt> Prompts { get; init; }

    /// <summary>How tokens are drawn. <see cref="SamplingOptions.Seed"/> is <see cref="Seed"/> or 0.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>The seed asked for; null: a fresh one.</summary>
    public long? Seed { get; init; }

    /// <summary>Completions per prompt.</summary>
    public int Samples { get; init; } = 1;

    /// <summary>Whether each token's log-prob is returned.</summary>
    public bool LogProbs { get; init; }

    /// <summary>How many of the most likely tokens are named beside each sampled one.</summary>
    public int Alternatives { get; init; }

    /// <summary>Whether the answer is sent piece by piece.</summary>
    public bool Stream { get; init; }

    /// <summary>Whether a stream ends with the token counts.</summary>
    public bool StreamUsage { get; init; }
}

/// <summary>One prompt: exactly one of text, ids and messages.</summary>
public sealed record ServedPrompt
{
    /// <summary>Plain text, encoded with the special tokens the tokenizer puts around it.</summary>
    public string? Text { get; init; }

    /// <summary>Ids, used as they are.</summary>
    public int[]? TokenIds { get; init; }

    /// <summary>A conversation for the model's chat template.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>What else the template may read, such as <c>enable_thinking</c>.</summary>
    public IReadOnlyDictionary<string, JsonElement>? TemplateVariables { get; init; }
}
