using System.Runtime.InteropServices;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync;

namespace Sapo.Rollout.Tests;

/// <summary>A model of a few thousand random weights, imported once per test class into a folder that is removed with it.</summary>
public sealed class TinyModel : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sapo-rollout-");

    public TinyModel()
    {
        Policy = Import(seed: 1, "v0");
        Config = ModelConfigReader.Read(Policy.Folder);
    }

    public PublishedPolicy Policy { get; }

    internal ModelConfig Config { get; }

    /// <summary>Imports weights of another seed, as another version with probe sequences.</summary>
    public PublishedPolicy Version(long version, int seed, params IReadOnlyList<ProbeSequence> probe)
    {
        var policy = Import(seed, $"v{version}-{seed}");
        return policy with { Manifest = policy.Manifest with { Version = version, Probe = probe } };
    }

    public void Dispose() => _folder.Delete(recursive: true);

    private PublishedPolicy Import(int seed, string name)
    {
        var source = _folder.CreateSubdirectory(name + "-weights").FullName;
        File.WriteAllText(Path.Combine(source, "config.json"), """
            {
              "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 96,
              "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu", "eos_token_id": 2
            }
            """);
        var tensors = ModelConfigReader.Read(source).Parameters().Select((parameter, index) => Random(parameter.Name, parameter.Shape, seed, index)).ToArray();
        using (var file = File.Create(Path.Combine(source, "model.safetensors"))) SafetensorsWriter.Write(file, tensors);
        return PolicyImporter.Import(source, Path.Combine(_folder.FullName, name));
    }

    private static WeightTensor Random(string name, long[] shape, int seed, int index)
    {
        var values = new float[shape.Aggregate(1L, (product, size) => product * size)];
        var isNorm = shape.Length == 1;
        for (var i = 0; i < values.Length; i++) values[i] = (isNorm ? 1 : 0) + (CounterRandom.Uniform(seed, index, 0, i) - 0.5f) * (isNorm ? 0.5f : 1);
        return new WeightTensor(name, WeightType.F32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
    }
}
