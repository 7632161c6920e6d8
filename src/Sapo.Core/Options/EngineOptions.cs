using Sapo.Core.Models;

namespace Sapo.Core.Options;

/// <summary>The rollout engine: section <c>engine</c> of a run file.</summary>
public sealed record EngineOptions
{
    /// <summary>The name of NVIDIA's provider.</summary>
    public const string CudaProvider = "cuda";

    /// <summary>The value that leaves a choice to the engine.</summary>
    public const string Auto = "auto";

    /// <summary>Most slots with session genai: ONNX Runtime GenAI's own limit.</summary>
    public const int MostGenAiSlots = 32;

    /// <summary>
    /// What decodes: <c>ort</c> (ONNX Runtime directly: free slots are refilled at once, prompts are computed once per group)
    /// or <c>genai</c> (ONNX Runtime GenAI: at most 32 slots, which begin together and wait for the longest). Default ort.
    /// </summary>
    public string Session { get; init; } = "ort";

    /// <summary>
    /// What weights are stored in: <c>fp32</c>, the learner's own numbers; <c>int8</c> or <c>int4</c> matrices with a scale per 32 weights (less memory to read,
    /// log-probs a little off the learner's); <c>fp16</c> or <c>bf16</c> for CUDA. Default fp32.
    /// </summary>
    public string Precision { get; init; } = "fp32";

    /// <summary>What ONNX Runtime computes with: <c>cpu</c>, or <c>cuda</c> where its provider and a device are. Default cpu.</summary>
    public string Provider { get; init; } = "cpu";

    /// <summary>Sequences decoded at once, at least 1. Default 64.</summary>
    public int Slots { get; init; } = 64;

    /// <summary>Longest prompt and completion together, in tokens; null takes the model's own limit. Sizes the KV buffers.</summary>
    public int? MaxSequenceLength { get; init; }

    /// <summary>Most prompt tokens computed between two decode steps, so that a long prompt does not hold up running completions; at least 1. Default 512.</summary>
    public int PrefillChunk { get; init; } = 512;

    /// <summary>Prompts whose keys and values are kept beyond the slots, for groups that wait for slots and for prompts that begin alike; at least 2. Default 4.</summary>
    public int PromptRows { get; init; } = 4;

    /// <summary>
    /// With truncation: how many of the ids it kept are listed per token, at least 1. A completion with a larger kept set somewhere carries none,
    /// is counted, and is left out of training. Default 512.
    /// </summary>
    public int MaxKeptIds { get; init; } = 512;

    /// <summary>What happens to running completions at a swap: <c>drain</c> (they finish on the old version) or <c>inFlight</c> (they go on under the new one). Default drain.</summary>
    public string Swap { get; init; } = "drain";

    /// <summary>With <c>inFlight</c>: running completions <c>keep</c> the old version's keys and values, or the new version must <c>recompute</c> them first. Default keep.</summary>
    public string InFlightKeyValues { get; init; } = "keep";

    /// <summary>
    /// How hidden states are multiplied with weight matrices. <c>direct</c>: by Sapo's own kernel, which reads matrices as they lie in the file, so that a new version is at full
    /// speed at once (fp32 on a CPU with AVX2 or AVX-512, session ort). Or by ONNX Runtime's, whose matrices are reordered for speed <c>before</c> a new version is switched to,
    /// <c>behind</c> it (the version decodes at once, more slowly at first; because the two ways round differently, a run is then not reproducible bit for bit), or <c>never</c>.
    /// Default auto: direct where it can be, else before.
    /// </summary>
    public string Prepack { get; init; } = Auto;

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public EngineOptions Validated()
    {
        OptionCheck.Holds(Slots >= 1, "engine.slots", Slots, "at least 1");
        OptionCheck.OneOf("engine.session", Session, "ort", "genai");
        OptionCheck.OneOf("engine.precision", Precision, [.. PrecisionNames.All]);
        OptionCheck.OneOf("engine.prepack", Prepack, Auto, "direct", "before", "behind", "never");
        OptionCheck.Holds(Precision == "fp32" || Prepack is Auto or "before", "engine.prepack", Prepack, $"auto or before with engine.precision {Precision}: quantised products need their own order");
        OptionCheck.OneOf("engine.provider", Provider, "cpu", CudaProvider);
        OptionCheck.Holds(Provider == "cpu" || Prepack != "direct", "engine.prepack", Prepack, $"anything but direct with engine.provider {Provider}: that kernel is the CPU's");
        if (Session == "genai") CheckGenAi();
        OptionCheck.Holds(MaxSequenceLength is null or >= 2, "engine.maxSequenceLength", MaxSequenceLength, "at least 2");
        OptionCheck.Holds(PrefillChunk >= 1, "engine.prefillChunk", PrefillChunk, "at least 1");
        OptionCheck.Holds(PromptRows >= 2, "engine.promptRows", PromptRows, "at least 2");
        OptionCheck.Holds(MaxKeptIds >= 1, "engine.maxKeptIds", MaxKeptIds, "at least 1");
        OptionCheck.OneOf("engine.swap", Swap, "drain", "inFlight");
        OptionCheck.OneOf("engine.inFlightKeyValues", InFlightKeyValues, "keep", "recompute");
        return this;
    }

    // GenAI holds its rows' keys and values itself, and always prepacks.
    private void CheckGenAi()
    {
        OptionCheck.Holds(Slots <= MostGenAiSlots, "engine.slots", Slots, $"at most {MostGenAiSlots} with engine.session genai");
        OptionCheck.Holds(Prepack is Auto or "before", "engine.prepack", Prepack, "auto or before with engine.session genai");
        OptionCheck.Holds(Provider == "cpu", "engine.provider", Provider, "cpu with engine.session genai");
        OptionCheck.Holds(Swap != "inFlight" || InFlightKeyValues == "recompute", "engine.inFlightKeyValues", InFlightKeyValues, "recompute with engine.session genai and engine.swap inFlight");
    }
}
