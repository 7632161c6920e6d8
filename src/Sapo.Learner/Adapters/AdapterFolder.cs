// A folder with an adapter in PEFT's format: adapter_config.json and adapter_model.safetensors, the latter with the tensors
//   base_model.model.<module>.lora_A.weight [rank, in]    base_model.model.<module>.lora_B.weight [out, rank]
// Reading believes nothing: both halves of every targeted module must be there, with the shapes that configuration and base
// model imply, and finite; and nothing else may be there. PEFT itself loads much of that silently wrong.
using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Learner.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Adapters;

/// <summary>Reads and writes adapters.</summary>
internal static class AdapterFolder
{
    /// <summary>The weights' file.</summary>
    public const string WeightsFile = "adapter_model.safetensors";

    private const string Prefix = "base_model.model.", DownEnding = ".lora_A.weight", UpEnding = ".lora_B.weight";

    /// <summary>Reads an adapter for a model.</summary>
    /// <param name="folder">Where it lies.</param>
    /// <param name="config">The base model.</param>
    /// <param name="precision">In memory; F32, F16 and BF16 on disk are widened.</param>
    /// <param name="device">Where its matrices go.</param>
    /// <returns>The adapter, owned by the caller, and the dropout that its configuration names.</returns>
    /// <exception cref="UserErrorException">A file is missing or broken, or does not fit configuration or model; the message names the file or tensor.</exception>
    public static (LowRankAdapter Adapter, double Dropout) Read(string folder, ModelConfig config, ScalarType precision, Device device)
    {
        if (!Directory.Exists(folder)) throw new UserErrorException($"{folder} does not exist", "a folder with an adapter as PEFT saves it", "Check the path");
        var settings = AdapterConfig.Read(folder);
        using var file = SafetensorsFile.Open(Path.Combine(folder, WeightsFile));
        CheckNames(file, config, settings);
        foreach (var module in LowRankAdapter.ModulesOf(settings.Options, config)) // before a rank that only the configuration claims takes memory
        {
            Check(file, module.DownName, [module.Rank, module.Inputs], module);
            Check(file, module.UpName, [module.Outputs, module.Rank], module);
        }
        var adapter = new LowRankAdapter(settings.Options, config, precision, device);
        try
        {
            foreach (var slot in adapter.Parameters.InCheckpointOrder) Load(file, slot, adapter);
            return (adapter, settings.Dropout);
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
    }

    /// <summary>Writes an adapter so that PEFT loads it.</summary>
    /// <param name="folder">Made where missing; files of the same names are replaced.</param>
    /// <param name="adapter">What is written, in F32.</param>
    /// <param name="baseModel">The folder of the model it belongs to.</param>
    public static void Write(string folder, LowRankAdapter adapter, string baseModel)
    {
        using var scope = NewDisposeScope();
        Directory.CreateDirectory(folder);
        var values = adapter.Parameters.Values.cpu();
        AtomicFile.Write(Path.Combine(folder, WeightsFile), stream => SafetensorsWriter.Write(stream, [.. LearnerState.WeightTensors(Prefix, adapter.Parameters, values)]));
        AtomicFile.WriteAllBytes(Path.Combine(folder, AdapterConfig.FileName), AdapterConfig.Write(adapter, baseModel));
    }

    private static void CheckNames(SafetensorsFile file, ModelConfig config, AdapterConfig settings)
    {
        var known = LowRankAdapter.AdaptableModules(config).Select(module => module.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var name in file.Entries.Select(entry => entry.Name))
        {
            var ending = new[] { DownEnding, UpEnding }.FirstOrDefault(end => name.EndsWith(end, StringComparison.Ordinal));
            if (ending is null || !name.StartsWith(Prefix, StringComparison.Ordinal))
                throw new UserErrorException($"{file.Path}: {name} is neither an A nor a B of LoRA", $"{Prefix}<layer>{DownEnding} or {UpEnding}", "Use an adapter of plain LoRA");
            var module = name[Prefix.Length..^ending.Length];
            if (!known.Contains(module))
                throw new UserErrorException($"{file.Path}: {name} belongs to {module}, which the base model does not have as an adaptable layer", null, "Use the adapter with the model it was trained on");
            if (!settings.Options.IsTarget(module))
                throw new UserErrorException($"{file.Path}: {name} is there, but {AdapterConfig.FileName} does not target {module}", null, "Use the configuration saved with these weights");
        }
    }

    private static void Check(SafetensorsFile file, string name, long[] shape, AdaptedModule module)
    {
        var stored = Prefix + name;
        if (file.Find(stored) is not { } entry)
            throw new UserErrorException($"{file.Path}: {stored} is missing", $"A and B of every layer that {AdapterConfig.FileName} targets", "Use the files of one adapter");
        if (entry.Type is not (WeightType.F32 or WeightType.F16 or WeightType.BF16))
            throw new UserErrorException($"{file.Path}: {stored} is stored as {entry.Type}", "F32, F16 or BF16", "Convert the adapter");
        if (!entry.Shape.SequenceEqual(shape))
            throw new UserErrorException(
                $"{file.Path}: {stored} is [{string.Join(", ", entry.Shape)}]",
                $"[{string.Join(", ", shape)}]: rank {module.Rank} by {AdapterConfig.FileName}, on a base weight of [{module.Outputs}, {module.Inputs}]", "Use the configuration and the model that belong to these weights");
    }

    private static void Load(SafetensorsFile file, ParameterSlot slot, LowRankAdapter adapter)
    {
        using var scope = NewDisposeScope();
        var stored = Prefix + slot.Name;
        var entry = file.Find(stored)!;
        var values = new float[slot.Count];
        WeightConversion.ToSingle(file.Read(entry), entry.Type, values);
        if (WeightConversion.IndexOfNonFinite(values) is >= 0 and var bad)
            throw new UserErrorException($"{file.Path}: {stored} holds {values[bad]} at element {bad}", "finite weights", "Use an adapter from before the training diverged, or download it again");
        adapter.Parameters.Values.narrow(0, slot.Offset, slot.Count).copy_(tensor(values));
    }
}
