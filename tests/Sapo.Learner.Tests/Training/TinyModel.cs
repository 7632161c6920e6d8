using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Learner.Tests.Training;

/// <summary>A folder with a random tiny model, removed afterwards.</summary>
internal sealed class TinyModel : IDisposable
{
    /// <summary>Large enough that every part moves the logits.</summary>
    private const double StandardDeviation = 0.3;

    public TinyModel(ModelConfig? config = null, long seed = 11)
    {
        Config = config ?? Qwen3();
        Folder = Directory.CreateTempSubdirectory("sapo-learner-").FullName;
        File.WriteAllBytes(Path.Combine(Folder, "config.json"), ModelConfigWriter.Write(Config));
        WeightTensor[] tensors = [.. Config.Parameters().Select((parameter, index) => Random(parameter.Name, parameter.Shape, seed, index))];
        using var stream = File.Create(Path.Combine(Folder, "model.safetensors"));
        SafetensorsWriter.Write(stream, tensors);
    }

    public ModelConfig Config { get; }

    public string Folder { get; }

    public static ModelConfig Qwen3() => new()
    {
        ModelType = "qwen3", VocabSize = 24, HiddenSize = 16, LayerCount = 2, HeadCount = 4, KeyValueHeadCount = 2, HeadSize = 8, IntermediateSize = 20, MaxPositions = 64,
        TieWordEmbeddings = true, QueryKeyNorm = true, SlidingWindows = new int?[2], EndTokenIds = [1],
    };

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    private static WeightTensor Random(string name, long[] shape, long seed, int index)
    {
        var gaussian = new SeededGaussian(seed, index);
        var values = new float[shape.Aggregate(1L, (product, size) => product * size)];
        var isNorm = shape.Length == 1 && name.EndsWith("norm.weight", StringComparison.Ordinal);
        for (var i = 0; i < values.Length; i++) values[i] = (float)((isNorm ? 1 : 0) + StandardDeviation * gaussian.Next());
        return new WeightTensor(name, WeightType.F32, shape, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
    }
}
