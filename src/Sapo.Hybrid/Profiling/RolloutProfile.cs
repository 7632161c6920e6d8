using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;

namespace Sapo.Hybrid.Profiling;

/// <summary>What an engine is asked to do while it is measured. No completion ends before its last token, so the number of tokens is known beforehand.</summary>
public sealed record RolloutWorkload
{
    /// <summary>Sequences decoded at once.</summary>
    public required int Slots { get; init; }

    /// <summary>Tokens of each prompt, at least 1; prompts differ from their first token on.</summary>
    public int PromptTokens { get; init; } = 64;

    /// <summary>Tokens of each completion.</summary>
    public int NewTokens { get; init; } = 64;

    /// <summary>Completions per prompt.</summary>
    public int GroupSize { get; init; } = 8;

    /// <summary>What decodes: ort or genai.</summary>
    public string Session { get; init; } = "ort";

    /// <summary>What weights are read in.</summary>
    public string Precision { get; init; } = "fp32";

    /// <summary>How often every slot is filled.</summary>
    public int Rounds { get; init; } = 2;

    /// <summary>Prompts that are asked.</summary>
    public int Prompts => (Rounds * Slots + GroupSize - 1) / GroupSize;

    /// <summary>Completions that come back.</summary>
    public int Completions => Prompts * GroupSize;

    /// <summary>Tokens that are sampled.</summary>
    public long GeneratedTokens => (long)Completions * NewTokens;

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is below 1.</exception>
    public RolloutWorkload Validated()
    {
        foreach (var (name, value) in new[] { ("slots", Slots), ("prompt", PromptTokens), ("new", NewTokens), ("group", GroupSize), ("rounds", Rounds) })
            if (value < 1) throw new UserErrorException($"--{name} is {value}", "at least 1", "Correct the command line");
        ExecutionProvider.Check(new EngineOptions { Session = Session, Precision = Precision, Slots = Slots }.Validated());
        return this;
    }
}

/// <summary>One workload on one engine.</summary>
public sealed record RolloutPoint
{
    /// <summary>What was asked.</summary>
    public required RolloutWorkload Workload { get; init; }

    /// <summary>Threads of the engine.</summary>
    public required int Threads { get; init; }

    /// <summary>How the engine was told to multiply: <see cref="EngineOptions.Prepack"/>.</summary>
    public required string Prepack { get; init; }

    /// <summary>Tokens sampled.</summary>
    public required long GeneratedTokens { get; init; }

    /// <summary>Prompt tokens whose keys and values the completions needed, each prompt's last token left out: it is a completion's first input.</summary>
    public required long PromptTokensRequested { get; init; }

    /// <summary>Prompt tokens whose keys and values were computed.</summary>
    public required long PromptTokensComputed { get; init; }

    /// <summary>Decode steps.</summary>
    public required long DecodeSteps { get; init; }

    /// <summary>From the first request to the last completion.</summary>
    public required double WallSeconds { get; init; }

    /// <summary>Inside prefill runs.</summary>
    public required double PrefillSeconds { get; init; }

    /// <summary>Inside decode runs.</summary>
    public required double DecodeSeconds { get; init; }

    /// <summary>In copies of keys and values, from a prompt to the completions of its group.</summary>
    public required double CopySeconds { get; init; }

    /// <summary>Everything else while there was work: scheduling, handing completions over.</summary>
    public required double HostSeconds { get; init; }

    /// <summary>Share of the slots that worked while work was waiting.</summary>
    public required double SlotUtilisation { get; init; }

    /// <summary>Bytes reserved for keys and values.</summary>
    public required long KeyValueBytes { get; init; }

    /// <summary>Bytes of the weights.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Bytes an average decode step must read at least: the weights once, the keys and values of its rows.</summary>
    public required double BytesPerStep { get; init; }

    /// <summary>Floating-point operations of an average decode step.</summary>
    public required double FlopsPerStep { get; init; }

    /// <summary>Share of the machine's read bandwidth that decode runs reached.</summary>
    public required double DecodeShareOfBandwidth { get; init; }

    /// <summary>Share of the machine's matrix rate that decode runs reached.</summary>
    public required double DecodeShareOfMatrixRate { get; init; }

    /// <summary>Share of the machine's matrix rate that prefill runs reached.</summary>
    public required double PrefillShareOfMatrixRate { get; init; }

    /// <summary>Sampled tokens per second of the whole call.</summary>
    public double TokensPerSecond => GeneratedTokens / WallSeconds;

    /// <summary>Sampled tokens per second inside decode runs.</summary>
    public double DecodeTokensPerSecond => GeneratedTokens / DecodeSeconds;

    /// <summary>Prompt tokens per second inside prefill runs; 0 where there are none: for prompts of one token, and where a GenAI batch's first step computes its prompts.</summary>
    public double PrefillTokensPerSecond => PrefillSeconds > 0 && Workload.Session != "genai" ? PromptTokensComputed / PrefillSeconds : 0;

    /// <summary>Milliseconds per decode step.</summary>
    public double MillisecondsPerStep => 1000 * DecodeSeconds / DecodeSteps;

    /// <summary>Host work as a share of the engine thread's busy time.</summary>
    public double HostShare => HostSeconds / BusySeconds;

    /// <summary>The engine thread's busy time.</summary>
    public double BusySeconds => PrefillSeconds + DecodeSeconds + CopySeconds + HostSeconds;

    /// <summary>What an engine's counters say of one workload.</summary>
    /// <param name="workload">The workload.</param>
    /// <param name="config">The model.</param>
    /// <param name="limits">The machine's.</param>
    /// <param name="before">Counters before the first request.</param>
    /// <param name="after">Counters after the last completion.</param>
    /// <param name="run">Threads, how to multiply, and seconds from the first request to the last completion.</param>
    internal static RolloutPoint Of(
        RolloutWorkload workload, ModelConfig config, MachineLimits limits, EngineCounters before, EngineCounters after, (int Threads, string Prepack, double WallSeconds) run)
    {
        long steps = after.DecodeSteps - before.DecodeSteps, tokens = after.GeneratedTokens - before.GeneratedTokens, computed = after.PromptTokensComputed - before.PromptTokensComputed;
        var (prefill, decode) = (after.PrefillSeconds - before.PrefillSeconds, after.DecodeSeconds - before.DecodeSeconds);
        double rows = (double)tokens / steps, positions = workload.PromptTokens + workload.NewTokens / 2.0, prompt = workload.PromptTokens - 1;
        var precision = PrecisionNames.Parse(workload.Precision);
        var bytes = ReadWeightBytes(config, precision) + rows * positions * KeyValueBytesPerToken(config, precision);
        var flops = FlopCount.Forward(config, rows, rows * positions, rows);
        var prefillFlops = computed == 0 ? 0 : FlopCount.Forward(config, computed, computed * (prompt + 1) / 2, 0); // a prompt needs no logits
        return new RolloutPoint
        {
            Workload = workload,
            Threads = run.Threads,
            Prepack = run.Prepack,
            GeneratedTokens = tokens,
            PromptTokensRequested = after.PromptTokensRequested - before.PromptTokensRequested,
            PromptTokensComputed = computed,
            DecodeSteps = steps,
            WallSeconds = run.WallSeconds,
            PrefillSeconds = prefill,
            DecodeSeconds = decode,
            CopySeconds = after.CopySeconds - before.CopySeconds,
            HostSeconds = after.HostSeconds - before.HostSeconds,
            SlotUtilisation = Utilisation(before, after),
            KeyValueBytes = after.KeyValueBytes,
            WeightBytes = after.WeightBytes,
            BytesPerStep = bytes,
            FlopsPerStep = flops,
            DecodeShareOfBandwidth = bytes * steps / decode / limits.ReadBytesPerSecond,
            DecodeShareOfMatrixRate = flops * steps / decode / limits.MatrixFlopsPerSecond,
            PrefillShareOfMatrixRate = prefill > 0 && workload.Session != "genai" ? prefillFlops / prefill / limits.MatrixFlopsPerSecond : 0,
        };
    }

    private static double Utilisation(EngineCounters before, EngineCounters after) =>
        after.SlotStepsAvailable == before.SlotStepsAvailable ? 1 : (double)(after.SlotStepsUsed - before.SlotStepsUsed) / (after.SlotStepsAvailable - before.SlotStepsAvailable);

    /// <summary>An embedding is looked up by rows, not read; the head is read, also where it is the embedding.</summary>
    private static long ReadWeightBytes(ModelConfig config, Precision precision)
    {
        var layout = precision == Precision.Fp32 ? null : new ReducedLayout(config, precision);
        var embedding = (long)config.VocabSize * config.HiddenSize;
        if (layout is null) return sizeof(float) * (config.ParameterCount - (config.TieWordEmbeddings ? 0 : embedding));
        var kept = config.Parameters().Where(parameter => layout.IsKept(parameter.Name)).Sum(parameter => parameter.Shape.Aggregate((long)sizeof(float), (product, size) => product * size));
        var reduced = layout.Tensors.Sum(tensor => tensor.Header.Bytes);
        return layout.Bits > 0 ? reduced + kept - sizeof(float) * embedding : reduced - (config.TieWordEmbeddings ? 0 : sizeof(ushort) * embedding);
    }

    private static double KeyValueBytesPerToken(ModelConfig config, Precision precision) =>
        2.0 * (precision is Precision.Fp16 or Precision.Bf16 ? sizeof(ushort) : sizeof(float)) * config.LayerCount * config.KeyValueHeadCount * config.CacheHeadSize;
}

/// <summary>A version switch while every slot decodes, in milliseconds from its beginning unless said.</summary>
public sealed record SwapTimes
{
    /// <summary>How the engine multiplies: <see cref="EngineOptions.Prepack"/>.</summary>
    public required string Prepack { get; init; }

    /// <summary>How long the session took that decoded first.</summary>
    public required double BuildMilliseconds { get; init; }

    /// <summary>How long its probe took.</summary>
    public required double ProbeMilliseconds { get; init; }

    /// <summary>How long the switch itself took.</summary>
    public required double SwitchMilliseconds { get; init; }

    /// <summary>How long decoding stood still: probe and switch, and those of a prepacked session built behind.</summary>
    public required double PauseMilliseconds { get; init; }

    /// <summary>Largest difference in log-prob that the probe found.</summary>
    public required double ProbeDifference { get; init; }

    /// <summary>When the first step under the new version was done.</summary>
    public required double FirstTokenMilliseconds { get; init; }

    /// <summary>When steps ran at full speed.</summary>
    public required double FullSpeedMilliseconds { get; init; }
}

/// <summary>A rollout engine's profile: the content of rollout.json.</summary>
/// <param name="Context">Machine and versions.</param>
/// <param name="Limits">What the machine can do.</param>
/// <param name="Model">The model.</param>
/// <param name="Points">One per number of slots and lengths.</param>
/// <param name="Swaps">A version switch in each way of multiplying that this machine has.</param>
public sealed record RolloutProfile(ProfileContext Context, MachineLimits Limits, ProfiledModelInfo Model, IReadOnlyList<RolloutPoint> Points, IReadOnlyList<SwapTimes> Swaps);
