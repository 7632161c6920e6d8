using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;

namespace Sapo.Sync.Tests;

/// <summary>A tiny model and its snapshots.</summary>
internal static class TestModel
{
    public static ModelConfig Config { get; } = new()
    {
        ModelType = "qwen3",
        VocabSize = 40,
        HiddenSize = 16,
        LayerCount = 2,
        HeadCount = 2,
        KeyValueHeadCount = 1,
        HeadSize = 8,
        IntermediateSize = 24,
        MaxPositions = 32,
        TieWordEmbeddings = true,
        QueryKeyNorm = true,
        SlidingWindows = [null, null],
        EndTokenIds = [3],
    };

    /// <summary>A folder with the model and a tokenizer file.</summary>
    public static string CreateFolder(string parent)
    {
        var folder = Path.Combine(parent, "model");
        HuggingFaceFolder.Create(folder, Config, seed: 1);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), "{}");
        return folder;
    }

    /// <summary>A snapshot whose every weight is the version's number.</summary>
    public static WeightSnapshot Snapshot(long version) => new(
        new PolicyVersion(version),
        [.. Config.Parameters().Select(parameter => Tensor(parameter.Name, parameter.Shape, version))],
        [new ProbeSequence([1, 2], [0, -0.5f])]);

    public static WeightTensor Tensor(string name, long[] shape, float value)
    {
        var values = new float[shape.Aggregate(1L, (product, size) => product * size)];
        Array.Fill(values, value);
        return new WeightTensor(name, WeightType.F32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
    }
}
