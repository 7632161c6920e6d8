namespace Sapo.Core;

/// <summary>One question to the policy. Token ids are what is sampled from; text is for rewards and for people.</summary>
public sealed record Prompt
{
    /// <summary>Identifies the prompt within a run. Together with the run seed, the sample index and the position it decides every random number drawn for its completions.</summary>
    public required long Id { get; init; }

    /// <summary>The ids fed to the policy, at least one, special tokens included. Read-only by convention.</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>The prompt as text, or null when it was given as ids.</summary>
    public string? Text { get; init; }

    /// <summary>What a verifier compares a completion with, or null when the task has no reference answer.</summary>
    public string? Answer { get; init; }

    /// <summary>Which problem it asks, where a curriculum chose it; else null.</summary>
    public long? Problem { get; init; }
}
