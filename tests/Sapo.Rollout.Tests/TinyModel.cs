using Sapo.Core.Models;
using Sapo.Sync;

namespace Sapo.Rollout.Tests;

/// <summary>A model of a few thousand random weights, imported once per test class into a folder that is removed with it.</summary>
public sealed class TinyModel : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sapo-rollout-");

    public TinyModel() => Policy = Imported(seed: 1);

    public PublishedPolicy Policy { get; }

    internal ModelConfig Config { get; } = new()
    {
        ModelType = "qwen3", VocabSize = 40, HiddenSize = 32, LayerCount = 2, HeadCount = 4, KeyValueHeadCount = 2, HeadSize = 16,
        IntermediateSize = 48, MaxPositions = 96, TieWordEmbeddings = true, QueryKeyNorm = true, SlidingWindows = [null, null], EndTokenIds = [2],
    };

    /// <summary>Weights of a seed as some version, with probe sequences. Seed 1 is <see cref="Policy"/>.</summary>
    public PublishedPolicy Version(long version, int seed, params IReadOnlyList<ProbeSequence> probe)
    {
        var policy = Imported(seed);
        return policy with { Manifest = policy.Manifest with { Version = version, Probe = probe } };
    }

    public void Dispose() => _folder.Delete(recursive: true);

    /// <summary>The weights of <see cref="Policy"/>, written at a precision too.</summary>
    internal PublishedPolicy At(Precision precision) => Imported(seed: 1, precision);

    /// <summary>The same model as a folder that GenAI's model builder could have made: graph with logits, genai_config.json, weights, no config.json.</summary>
    public PublishedPolicy Stock()
    {
        var folder = Path.Combine(_folder.FullName, "stock");
        var imported = Path.Combine(_folder.FullName, "stock-policy");
        if (Directory.Exists(imported)) return PublishedPolicy.Open(imported);
        Directory.CreateDirectory(folder);
        foreach (var name in new[] { "model.onnx", "genai_config.json", PublishedPolicy.WeightsFile }) File.Copy(Path.Combine(Policy.Folder, name), Path.Combine(folder, name));
        return StockImporter.Import(folder, imported);
    }

    private PublishedPolicy Imported(int seed, Precision precision = Precision.Fp32)
    {
        var output = Path.Combine(_folder.FullName, $"policy-{seed}-{precision.Name()}");
        if (Directory.Exists(output)) return PublishedPolicy.Open(output);
        var source = Path.Combine(_folder.FullName, $"weights-{seed}");
        if (!Directory.Exists(source)) HuggingFaceFolder.Create(source, Config, seed, standardDeviation: 0.3);
        return PolicyImporter.Import(source, output, precision: precision);
    }
}
