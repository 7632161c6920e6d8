using Sapo.Core;

namespace Sapo.Hybrid.Generation;

/// <summary>What a generation came to; all numbers are of this call alone but <see cref="AlreadyDone"/>.</summary>
public sealed record GenerationOutcome
{
    /// <summary>Completions written.</summary>
    public required int Completions { get; init; }

    /// <summary>Completions that were in the output file before.</summary>
    public required int AlreadyDone { get; init; }

    /// <summary>Lines left out.</summary>
    public int BadLines { get; init; }

    /// <summary>Tokens sampled.</summary>
    public required long Tokens { get; init; }

    /// <summary>From the first prompt to the last completion.</summary>
    public required double Seconds { get; init; }

    /// <summary>Tokens of the shortest and of the longest completion; 0 when there is none.</summary>
    public required (int Shortest, int Longest) Lengths { get; init; }

    /// <summary>Completions by how they ended.</summary>
    public required IReadOnlyDictionary<FinishReason, int> Ends { get; init; }

    /// <summary>Share of the slots that worked while prompts waited.</summary>
    public required double SlotUtilisation { get; init; }

    /// <summary>Prompt tokens computed, and as many as would have been without sharing prompts.</summary>
    public required (long Computed, long Requested) PromptTokens { get; init; }
}
