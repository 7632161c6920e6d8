using System.Text.Json;
using Sapo.Learner.Adapters;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>One adapter of golden/peft: where it and its reference values lie.</summary>
internal sealed record PeftCase(JsonElement Json)
{
    /// <summary>Every adapter of golden.json.</summary>
    public static IReadOnlyList<PeftCase> All { get; } =
        [.. GoldenJson.Read("peft", "golden.json").GetProperty("adapters").EnumerateArray().Select(adapter => new PeftCase(adapter))];

    public static string BaseFolder { get; } = Golden.PathOf("peft", GoldenJson.Read("peft", "golden.json").GetProperty("base").GetString()!);

    public string Name => Json.GetProperty("folder").GetString()!;

    public string Folder => Golden.PathOf("peft", Name);

    public GoldenTensors Tensors() => new(Path.Combine(Folder, "golden.safetensors"));

    /// <summary>The batch that all adapters share.</summary>
    public static GoldenTensors Batch() => new(Golden.PathOf("peft", "batch.safetensors"));

    /// <summary>The base model with an adapter of this folder.</summary>
    public static LoadedModel Load(string folder, ScalarType precision = ScalarType.Float32) =>
        new(BaseFolder, precision, adapter: config => AdapterFolder.Read(folder, config, precision, CPU).Adapter);
}
