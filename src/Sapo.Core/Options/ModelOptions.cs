// Section model of a run file: where the first policy comes from.
using Sapo.Core.Models;

namespace Sapo.Core.Options;

/// <summary>Section <c>model</c>: exactly one of its members.</summary>
public sealed record ModelOptions
{
    /// <summary>A new model with random weights.</summary>
    public ModelCreateOptions? Create { get; init; }

    /// <summary>A Hugging Face folder or a published policy; a relative path is relative to the run file.</summary>
    public string? Folder { get; init; }

    /// <summary>
    /// A low-rank adapter in PEFT's format to go on training, beside <see cref="Folder"/>; a relative path is relative to the run
    /// file. It brings its own ranks, scalings and targets. Default none.
    /// </summary>
    public string? Adapter { get; init; }

    internal void Validate()
    {
        OptionCheck.Holds(Adapter is null or { Length: > 0 }, "model.adapter", "empty", "the path of an adapter's folder");
        OptionCheck.Holds(Adapter is null || Folder is not null, "model.adapter", "given", "null without model.folder, the model it was trained on");
        OptionCheck.Holds(
            (Create is null) != (Folder is null), "model", Create is null ? "without create and folder" : "both create and folder",
            "exactly one of the two");
        Create?.Validate();
        OptionCheck.Holds(Folder is null or { Length: > 0 }, "model.folder", "empty", "the path of a model folder");
    }
}

/// <summary>
/// Section <c>model.create</c>: the architecture of a new model; its vocabulary is the task's. The weights come from
/// the run's seed.
/// </summary>
public sealed record ModelCreateOptions
{
    private const string MixtureType = "qwen3_moe";

    /// <summary>Written to config.json for programs that read it there, as transformers' Qwen3-MoE has it; training asks learner.routerBalance.</summary>
    private const double RouterAuxLossCoefficient = 0.001;

    /// <summary><c>qwen3</c>, <c>qwen3_moe</c> (every MLP a mixture of experts), <c>qwen2</c> or <c>llama</c>. Default qwen3.</summary>
    public string ModelType { get; init; } = "qwen3";

    /// <summary>Rows of the embedding; at least the task's number of tokens. Default 64.</summary>
    public int VocabSize { get; init; } = 64;

    /// <summary>Width of the residual stream. Default 128.</summary>
    public int HiddenSize { get; init; } = 128;

    /// <summary>Number of layers. Default 4.</summary>
    public int LayerCount { get; init; } = 4;

    /// <summary>Number of query heads. Default 4.</summary>
    public int HeadCount { get; init; } = 4;

    /// <summary>Number of key and value heads; divides headCount. Default 2.</summary>
    public int KeyValueHeadCount { get; init; } = 2;

    /// <summary>Width of a head, a multiple of 16 (what the engine's attention takes). Default 32.</summary>
    public int HeadSize { get; init; } = 32;

    /// <summary>Width of the MLP; with <c>qwen3_moe</c> that of each expert. Default 384.</summary>
    public int IntermediateSize { get; init; } = 384;

    /// <summary>With <c>qwen3_moe</c>, and only then: number of experts per layer, at least 2.</summary>
    public int? ExpertCount { get; init; }

    /// <summary>With <c>qwen3_moe</c>, and only then: how many of them see a token, 1 to expertCount. Their shares sum to 1.</summary>
    public int? ExpertsPerToken { get; init; }

    /// <summary>Longest sequence in tokens. Default 128.</summary>
    public int MaxPositions { get; init; } = 128;

    /// <summary>Base of the rotary frequencies. Default 10000.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Standard deviation of every matrix's normal distribution. Default 0.02.</summary>
    public double InitStd { get; init; } = 0.02;

    /// <summary>The model's configuration; embeddings are tied.</summary>
    public ModelConfig ToConfig(int beginTokenId, int endTokenId, int padTokenId) => new()
    {
        ModelType = ModelType,
        VocabSize = VocabSize,
        HiddenSize = HiddenSize,
        LayerCount = LayerCount,
        HeadCount = HeadCount,
        KeyValueHeadCount = KeyValueHeadCount,
        HeadSize = HeadSize,
        IntermediateSize = IntermediateSize,
        MaxPositions = MaxPositions,
        RopeTheta = RopeTheta,
        TieWordEmbeddings = true,
        QueryKeyValueBias = ModelType == "qwen2",
        QueryKeyNorm = ModelType is "qwen3" or MixtureType,
        SlidingWindows = new int?[LayerCount],
        Mixture = ModelType == MixtureType ? Mixture() : null,
        BeginTokenId = beginTokenId,
        EndTokenIds = [endTokenId],
        PadTokenId = padTokenId,
    };

    internal void Validate()
    {
        OptionCheck.Holds(
            ModelType is "qwen3" or MixtureType or "qwen2" or "llama", "model.create.modelType", ModelType, "qwen3, qwen3_moe, qwen2 or llama");
        foreach (var (name, value) in new[]
        {
            ("vocabSize", VocabSize), ("hiddenSize", HiddenSize), ("layerCount", LayerCount), ("headCount", HeadCount),
            ("keyValueHeadCount", KeyValueHeadCount), ("intermediateSize", IntermediateSize), ("maxPositions", MaxPositions),
        })
            OptionCheck.Holds(value is >= 1 and <= 1 << 24, $"model.create.{name}", value, "a positive number, at most 16777216");
        OptionCheck.Holds(
            HeadCount % KeyValueHeadCount == 0, "model.create.keyValueHeadCount", KeyValueHeadCount,
            $"a divisor of headCount = {HeadCount}");
        OptionCheck.Holds(
            HeadSize is >= 16 and <= 1024 && HeadSize % 16 == 0, "model.create.headSize", HeadSize, "a multiple of 16, at most 1024");
        OptionCheck.Holds(double.IsFinite(RopeTheta) && RopeTheta > 1, "model.create.ropeTheta", RopeTheta, "a number above 1");
        OptionCheck.Holds(InitStd is > 0 and < 10, "model.create.initStd", InitStd, "above 0 and below 10");
        ValidateMixture();
    }

    private MixtureConfig Mixture() => new(
        ExpertCount!.Value, ExpertsPerToken!.Value, IntermediateSize, NormalizeTopK: true, [.. Enumerable.Repeat(true, LayerCount)],
        RouterAuxLossCoefficient);

    private void ValidateMixture()
    {
        foreach (var (name, value) in new[] { ("expertCount", ExpertCount), ("expertsPerToken", ExpertsPerToken) })
            OptionCheck.Holds(
                (value is null) == (ModelType != MixtureType), $"model.create.{name}", value,
                ModelType == MixtureType ? "a number with modelType qwen3_moe" : "left out, since only modelType qwen3_moe has experts");
        OptionCheck.Holds(ExpertCount is null or (>= 2 and <= 1024), "model.create.expertCount", ExpertCount, "2 to 1024");
        OptionCheck.Holds(
            ExpertsPerToken is null || (ExpertsPerToken >= 1 && ExpertsPerToken <= ExpertCount), "model.create.expertsPerToken",
            ExpertsPerToken, $"1 to expertCount = {ExpertCount}");
    }
}
