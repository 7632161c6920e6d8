namespace Sapo.Rollout;

/// <summary>What an engine has done since it started; a snapshot between two decode steps.</summary>
public sealed record EngineCounters
{
    /// <summary>Prompt tokens of all started completions: prompt length times group size, less each prompt's last token, which is a completion's first input.</summary>
    public long PromptTokensRequested { get; init; }

    /// <summary>Prompt tokens whose keys and values were computed: once per group, and less where prompts begin alike.</summary>
    public long PromptTokensComputed { get; init; }

    /// <summary>Tokens sampled.</summary>
    public long GeneratedTokens { get; init; }

    /// <summary>Completions finished.</summary>
    public long Completions { get; init; }

    /// <summary>Completions that ran into a length limit.</summary>
    public long TruncatedCompletions { get; init; }

    /// <summary>Completions whose kept sets were larger than what a step lists; they carry no kept ids and cannot be trained on.</summary>
    public long CompletionsWithoutKeptIds { get; init; }

    /// <summary>Decode steps run; while an old version drains beside a new one, one per version.</summary>
    public long DecodeSteps { get; init; }

    /// <summary>Rows decoded in steps during which further completions were waiting.</summary>
    public long SlotStepsUsed { get; init; }

    /// <summary>Slots there were in steps during which further completions were waiting.</summary>
    public long SlotStepsAvailable { get; init; }

    /// <summary>Share of the slots that worked while work was waiting; 1 when none ever waited.</summary>
    public double SlotUtilisation => SlotStepsAvailable == 0 ? 1 : (double)SlotStepsUsed / SlotStepsAvailable;

    /// <summary>Seconds inside prefill runs.</summary>
    public double PrefillSeconds { get; init; }

    /// <summary>Seconds inside decode runs.</summary>
    public double DecodeSeconds { get; init; }

    /// <summary>Seconds in copies of keys and values: prompts to their completions' slots, and slots that close up.</summary>
    public double CopySeconds { get; init; }

    /// <summary>Seconds in which decoding stood still for version switches: probes, the switches, and giving the old version's memory back. Keys and values computed anew count as prefill.</summary>
    public double SwapSeconds { get; init; }

    /// <summary>Seconds the engine's thread spent on everything else while it had work: scheduling, collecting tokens, callbacks.</summary>
    public double HostSeconds { get; init; }

    /// <summary>Version switches.</summary>
    public long Swaps { get; init; }

    /// <summary>Bytes reserved for keys and values.</summary>
    public long KeyValueBytes { get; init; }

    /// <summary>Bytes of the active version's weights.</summary>
    public long WeightBytes { get; init; }

    /// <summary>What is reserved, in one line for people.</summary>
    public string MemoryText => $"{KeyValueBytes / (double)(1 << 20):N1} MiB of keys and values, {WeightBytes / (double)(1 << 20):N1} MiB of weights";
}
