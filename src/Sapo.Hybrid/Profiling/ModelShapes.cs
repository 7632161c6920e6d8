using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;

namespace Sapo.Hybrid.Profiling;

/// <summary>Models of known size with random weights, for times that do not depend on what a model has learned.</summary>
public static class ModelShapes
{
    private static readonly Dictionary<string, ModelConfig> Known = new(StringComparer.OrdinalIgnoreCase)
    {
        ["tiny"] = Qwen3(hidden: 128, layers: 4, heads: 4, keyValueHeads: 2, headSize: 32, intermediate: 384, vocabulary: 64),
        ["100m"] = Qwen3(hidden: 768, layers: 12, heads: 12, keyValueHeads: 4, headSize: 64, intermediate: 2048, vocabulary: 32_000),
        ["100m-151k"] = Qwen3(hidden: 512, layers: 8, heads: 8, keyValueHeads: 4, headSize: 64, intermediate: 1280, vocabulary: 151_936),
        ["0.6b"] = Qwen3(hidden: 1024, layers: 28, heads: 16, keyValueHeads: 8, headSize: 128, intermediate: 3072, vocabulary: 151_936),
    };

    /// <summary>tiny (the quickstart's 0.8 million parameters), 100m (100 million), 100m-151k (as many, four fifths of them the embedding of Qwen's vocabulary) and 0.6b (those of Qwen3-0.6B).</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Known.Keys];

    /// <summary>The shape of a name.</summary>
    /// <exception cref="UserErrorException">There is none of that name.</exception>
    public static ModelConfig Named(string name) => Known.TryGetValue(name, out var config)
        ? config
        : throw new UserErrorException($"--shape is {name}", $"one of {string.Join(", ", Names)}", $"Did you mean {NearestName.Of(name, Names)}? Another model is named with --model");

    private static ModelConfig Qwen3(int hidden, int layers, int heads, int keyValueHeads, int headSize, int intermediate, int vocabulary) => new()
    {
        ModelType = "qwen3",
        VocabSize = vocabulary,
        HiddenSize = hidden,
        LayerCount = layers,
        HeadCount = heads,
        KeyValueHeadCount = keyValueHeads,
        HeadSize = headSize,
        IntermediateSize = intermediate,
        MaxPositions = 4096,
        RopeTheta = 1e6,
        TieWordEmbeddings = true,
        QueryKeyNorm = true,
        SlidingWindows = new int?[layers],
        EndTokenIds = [1],
    };
}
