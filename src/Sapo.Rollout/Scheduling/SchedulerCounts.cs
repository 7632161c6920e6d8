namespace Sapo.Rollout.Scheduling;

/// <summary>The counts as they move. The scheduler's thread writes one of them and publishes it as a whole between two steps.</summary>
internal struct SchedulerCounts
{
    public long PromptTokensRequested, PromptTokensComputed, GeneratedTokens, Completions, TruncatedCompletions, CompletionsWithoutKeptIds;
    public long DecodeSteps, SlotStepsUsed, SlotStepsAvailable, Swaps;
    public double PrefillSeconds, DecodeSeconds, CopySeconds, SwapSeconds, HostSeconds;

    /// <summary>Seconds that have a name of their own.</summary>
    public readonly double NamedSeconds => PrefillSeconds + DecodeSeconds + CopySeconds + SwapSeconds;

    /// <summary>The public form.</summary>
    /// <param name="keyValueBytes">Bytes of keys and values.</param>
    /// <param name="weightBytes">Bytes of weights.</param>
    public readonly EngineCounters ToCounters(long keyValueBytes, long weightBytes) => new()
    {
        PromptTokensRequested = PromptTokensRequested,
        PromptTokensComputed = PromptTokensComputed,
        GeneratedTokens = GeneratedTokens,
        Completions = Completions,
        TruncatedCompletions = TruncatedCompletions,
        CompletionsWithoutKeptIds = CompletionsWithoutKeptIds,
        DecodeSteps = DecodeSteps,
        SlotStepsUsed = SlotStepsUsed,
        SlotStepsAvailable = SlotStepsAvailable,
        PrefillSeconds = PrefillSeconds,
        DecodeSeconds = DecodeSeconds,
        CopySeconds = CopySeconds,
        SwapSeconds = SwapSeconds,
        HostSeconds = HostSeconds,
        Swaps = Swaps,
        KeyValueBytes = keyValueBytes,
        WeightBytes = weightBytes,
    };
}
