using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>The names of the decode graph's inputs and outputs, and the check that a graph fits a model configuration.</summary>
internal static class DecodeGraph
{
    /// <summary>int64 [rows, new tokens].</summary>
    public const string InputIds = "input_ids";

    /// <summary>int32 [rows]: length after this call minus 1.</summary>
    public const string Lengths = "seqlens_k";

    /// <summary>int32 scalar: the longest length after this call.</summary>
    public const string TotalLength = "total_sequence_length";

    /// <summary>int32 [rows], of our own attention: how many rows further on stands one that holds the same first positions; 0 for none.</summary>
    public const string SharedWith = "shared_with";

    /// <summary>int32 [rows], of our own attention: how many positions those are.</summary>
    public const string SharedLengths = "shared_lengths";

    /// <summary>int64 [rows]: index of the new token that is sampled from; -1 in every row where none is: our own product then leaves the logits out.</summary>
    public const string LastIndex = "last_index";

    /// <summary>float [rows], in [0, 1).</summary>
    public const string Uniform = "uniform";

    /// <summary>float [rows].</summary>
    public const string Temperature = "temperature";

    /// <summary>int64 [rows].</summary>
    public const string TopK = "top_k";

    /// <summary>float [rows].</summary>
    public const string TopP = "top_p";

    /// <summary>float [rows].</summary>
    public const string MinP = "min_p";

    /// <summary>bool [rows].</summary>
    public const string MinPFirst = "min_p_first";

    /// <summary>int64 scalar: kept ids listed per row.</summary>
    public const string KeptLimit = "kept_limit";

    /// <summary>float [rows].</summary>
    public const string RepetitionPenalty = "repetition_penalty";

    /// <summary>float [rows].</summary>
    public const string FrequencyPenalty = "frequency_penalty";

    /// <summary>float [rows].</summary>
    public const string PresencePenalty = "presence_penalty";

    /// <summary>int64 [rows, positions]: prompt and completion so far, of rows with penalties.</summary>
    public const string History = "history";

    /// <summary>int64 [rows], 0 in rows without penalties.</summary>
    public const string HistoryLength = "history_length";

    /// <summary>float [rows, positions]: how often the completion holds each of them.</summary>
    public const string HistoryCounts = "history_counts";

    /// <summary>int64 [rows]: most likely tokens wanted.</summary>
    public const string Alternatives = "alternatives";

    /// <summary>bool scalar.</summary>
    public const string Truncate = "truncate";

    /// <summary>int64 [rows], -1 to sample.</summary>
    public const string ForcedToken = "forced_token";

    /// <summary>int64 [rows].</summary>
    public const string SampledToken = "sampled_token";

    /// <summary>float [rows].</summary>
    public const string SampledLogProb = "sampled_logprob";

    /// <summary>float [rows].</summary>
    public const string UntruncatedLogProb = "untruncated_logprob";

    /// <summary>int64 [rows].</summary>
    public const string KeptCount = "kept_count";

    /// <summary>int64 [rows, kept limit], or [rows, 0] without truncation.</summary>
    public const string KeptIds = "kept_ids";

    /// <summary>int64 [rows, most wanted by a row].</summary>
    public const string AlternativeIds = "alternative_ids";

    /// <summary>float [rows, most wanted by a row].</summary>
    public const string AlternativeLogProbs = "alternative_logprobs";

    private static readonly string[] RowInputs =
    [
        InputIds, Lengths, TotalLength, LastIndex, Uniform, Temperature, TopK, TopP, MinP, MinPFirst, KeptLimit, Truncate, ForcedToken,
        RepetitionPenalty, FrequencyPenalty, PresencePenalty, History, HistoryCounts, HistoryLength, Alternatives,
    ];

    private static readonly string[] RowOutputs = [SampledToken, SampledLogProb, UntruncatedLogProb, KeptCount, KeptIds, AlternativeIds, AlternativeLogProbs];

    /// <summary>The input of a layer's keys or values so far.</summary>
    public static string Past(int layer, bool keys) => string.Create(CultureInfo.InvariantCulture, $"past_key_values.{layer}.{(keys ? "key" : "value")}");

    /// <summary>The output of a layer's keys or values.</summary>
    public static string Present(int layer, bool keys) => string.Create(CultureInfo.InvariantCulture, $"present.{layer}.{(keys ? "key" : "value")}");

    /// <summary>Checks names, element types and the dimensions that a configuration fixes.</summary>
    /// <param name="session">The graph, opened.</param>
    /// <param name="config">The model.</param>
    /// <param name="precision">What its weights are read in.</param>
    /// <param name="direct">Whether its kernels are our own.</param>
    /// <param name="path">Where it lies.</param>
    /// <exception cref="UserErrorException">The graph was written for another model or another contract.</exception>
    public static void Check(InferenceSession session, ModelConfig config, Precision precision, bool direct, string path)
    {
        var element = precision switch { Precision.Fp16 => typeof(Float16), Precision.Bf16 => typeof(BFloat16), _ => typeof(float) };
        foreach (var name in direct ? [.. RowInputs, SharedWith, SharedLengths] : RowInputs)
            if (!session.InputMetadata.ContainsKey(name)) throw Unfit(path, $"has no input {name}");
        foreach (var name in RowOutputs)
            if (!session.OutputMetadata.ContainsKey(name)) throw Unfit(path, $"has no output {name}");
        for (var layer = 0; layer < config.LayerCount; layer++)
        {
            CheckCache(session.InputMetadata, Past(layer, keys: true), config, element, path);
            CheckCache(session.InputMetadata, Past(layer, keys: false), config, element, path);
            CheckCache(session.OutputMetadata, Present(layer, keys: true), config, element, path);
            CheckCache(session.OutputMetadata, Present(layer, keys: false), config, element, path);
        }
        if (session.InputMetadata.ContainsKey(Past(config.LayerCount, keys: true)))
            throw Unfit(path, $"has more layers than the {config.LayerCount} of config.json");
    }

    private static void CheckCache(IReadOnlyDictionary<string, NodeMetadata> metadata, string name, ModelConfig config, Type element, string path)
    {
        if (!metadata.TryGetValue(name, out var node)) throw Unfit(path, $"has no {name}; config.json says {config.LayerCount} layers");
        if (node.ElementType != element || node.Dimensions is not [_, var heads, _, var size] || !Fits(heads, config.KeyValueHeadCount) || !Fits(size, config.CacheHeadSize))
            throw Unfit(path, $"has {name} as {node.ElementType?.Name} [{string.Join(", ", node.Dimensions)}]; config.json implies {element.Name} [rows, {config.KeyValueHeadCount}, positions, {config.CacheHeadSize}]");
    }

    private static bool Fits(int dimension, int expected) => dimension == expected || dimension < 0; // negative: named, not fixed

    private static UserErrorException Unfit(string path, string what) => new($"{path} {what}", "the decode graph written for this config.json", "Publish or import the model again");
}
