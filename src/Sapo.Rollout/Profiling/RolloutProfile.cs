using Sapo.Core.Options;

namespace Sapo.Rollout.Profiling;

/// <summary>What to profile: every combination of slots, prompt length and completion length.</summary>
public sealed record RolloutProfileOptions
{
    /// <summary>Numbers of slots. Default 16 and 64.</summary>
    public IReadOnlyList<int> Slots { get; init; } = [16, 64];

    /// <summary>Prompt lengths in tokens. Default 64.</summary>
    public IReadOnlyList<int> PromptLengths { get; init; } = [64];

    /// <summary>Completion lengths in tokens. Default 128.</summary>
    public IReadOnlyList<int> NewTokens { get; init; } = [128];

    /// <summary>Completions per prompt. Default 8.</summary>
    public int GroupSize { get; init; } = 8;

    /// <summary>How many times each slot is filled in a measurement. Default 2.</summary>
    public int Rounds { get; init; } = 2;

    /// <summary>Threads of a decode step. Default: all cores.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>What decodes and how it swaps; slots and lengths are set by the sweep.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public RolloutProfileOptions Validated()
    {
        Check(Slots.Count > 0 && Slots.All(value => value >= 1), "slots", string.Join(", ", Slots), "numbers of at least 1");
        Check(PromptLengths.Count > 0 && PromptLengths.All(value => value >= 1), "promptLengths", string.Join(", ", PromptLengths), "numbers of at least 1");
        Check(NewTokens.Count > 0 && NewTokens.All(value => value >= 1), "newTokens", string.Join(", ", NewTokens), "numbers of at least 1");
        Check(GroupSize >= 1, "groupSize", GroupSize, "at least 1");
        Check(Rounds >= 1, "rounds", Rounds, "at least 1");
        Check(Threads >= 1, "threads", Threads, "at least 1");
        return this;
    }

    private static void Check(bool holds, string name, object value, string expected)
    {
        if (!holds) throw new UserErrorException($"profile {name} is {value}", expected, "Correct the command line");
    }
}

/// <summary>One measured combination.</summary>
public sealed record RolloutProfilePoint
{
    /// <summary>Slots.</summary>
    public required int Slots { get; init; }

    /// <summary>Prompt tokens.</summary>
    public required int PromptLength { get; init; }

    /// <summary>Completion tokens.</summary>
    public required int NewTokens { get; init; }

    /// <summary>Sampled tokens per second of the whole call.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Sampled tokens per second inside decode steps.</summary>
    public required double DecodeTokensPerSecond { get; init; }

    /// <summary>Computed prompt tokens per second inside prefill; 0 where a session does not tell prefill from decode.</summary>
    public required double PrefillTokensPerSecond { get; init; }

    /// <summary>Milliseconds of a decode step.</summary>
    public required double StepMilliseconds { get; init; }

    /// <summary>Share of the time inside prefill.</summary>
    public required double PrefillShare { get; init; }

    /// <summary>Share of the time inside decode steps.</summary>
    public required double DecodeShare { get; init; }

    /// <summary>Share of the time in copies of keys and values.</summary>
    public required double CopyShare { get; init; }

    /// <summary>Share of the time in scheduling and collecting tokens.</summary>
    public required double HostShare { get; init; }

    /// <summary>Share of the slots at work while work waited.</summary>
    public required double SlotUtilisation { get; init; }

    /// <summary>Bytes reserved for keys and values.</summary>
    public required long KeyValueBytes { get; init; }

    /// <summary>Weights, keys and values read per second in decode steps, as a share of the machine's measured read rate.</summary>
    public required double ReadRateShare { get; init; }

    /// <summary>Multiplications and additions per second in decode steps, as a share of the machine's measured rate.</summary>
    public required double ArithmeticShare { get; init; }
}

/// <summary>A profile of rollouts with one model on this machine.</summary>
/// <param name="Parameters">The model's parameters.</param>
/// <param name="WeightBytes">Their bytes.</param>
/// <param name="Threads">Threads of a decode step.</param>
/// <param name="Session">What decoded.</param>
/// <param name="Limits">What the machine can do.</param>
/// <param name="Points">The measurements, in the order of the sweep.</param>
/// <param name="Swap">A switch to the same weights under another version number, with the last combination's engine idle.</param>
public sealed record RolloutProfile(
    long Parameters, long WeightBytes, int Threads, string Session, MachineLimits Limits, IReadOnlyList<RolloutProfilePoint> Points, SwapReport Swap);
