using System.Globalization;
using System.Reflection;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Hybrid.Doctor;

namespace Sapo.Hybrid.Profiling;

/// <summary>Where, when and with what numbers were measured; written beside them.</summary>
public sealed record ProfileContext
{
    /// <summary>The processor's model name.</summary>
    public required string Processor { get; init; }

    /// <summary>The widest vector instructions that matter here.</summary>
    public required string VectorInstructions { get; init; }

    /// <summary>Cores this process may use.</summary>
    public required int Cores { get; init; }

    /// <summary>Memory this process may use, in bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Name and version.</summary>
    public required string OperatingSystem { get; init; }

    /// <summary>Name and version.</summary>
    public required string DotnetRuntime { get; init; }

    /// <summary>The choice of engines: cuda, cpu or local.</summary>
    public required string Engines { get; init; }

    /// <summary>ONNX Runtime's version; null where it does not load.</summary>
    public required string? OnnxRuntime { get; init; }

    /// <summary>libtorch's version; null where it does not load.</summary>
    public required string? Torch { get; init; }

    /// <summary>The library of libtorch's matrix products, and its kernels where it tells.</summary>
    public required string Blas { get; init; }

    /// <summary>This program's version, with the commit it was built from after a plus sign.</summary>
    public required string Program { get; init; }

    /// <summary>When, UTC.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Processes that wanted to run, on average over the last minute before the measurement began; null where the system does not say.</summary>
    public required double? LoadAverage { get; init; }

    /// <summary>True where so much else was running that bare times mean little; ratios taken in one run mean more.</summary>
    public bool MachineWasShared => LoadAverage > Cores / 2.0;

    /// <summary>Looks at the machine; takes a moment, because both engines are loaded.</summary>
    /// <param name="time">The clock.</param>
    public static ProfileContext Look(TimeProvider time)
    {
        var load = ReadLoadAverage();
        var machine = MachineProbe.Look(".");
        var engines = EngineProbe.Look();
        return new ProfileContext
        {
            Processor = machine.Processor,
            VectorInstructions = machine.VectorInstructions,
            Cores = machine.Cores,
            MemoryBytes = machine.Memory.TotalBytes,
            OperatingSystem = machine.OperatingSystem,
            DotnetRuntime = machine.DotnetRuntime,
            Engines = engines.Runtime,
            OnnxRuntime = engines.OnnxRuntime.Version,
            Torch = engines.Torch.Version,
            Blas = engines.Blas,
            Program = typeof(ProfileContext).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown",
            Time = time.GetUtcNow(),
            LoadAverage = load,
        };
    }

    /// <summary>One line for people.</summary>
    public override string ToString() =>
        $"{Processor}, {Cores} cores, {VectorInstructions}; ONNX Runtime {OnnxRuntime ?? "absent"}, libtorch {Torch ?? "absent"} ({Blas})"
        + (MachineWasShared ? $"; the machine was shared with other work (load average {LoadAverage:0.0}): compare ratios, not times" : "");

    private static double? ReadLoadAverage()
    {
        const string file = "/proc/loadavg";
        if (!File.Exists(file)) return null;
        return double.TryParse(File.ReadAllText(file).Split(' ')[0], CultureInfo.InvariantCulture, out var load) ? load : null;
    }
}

/// <summary>The model that numbers were measured with.</summary>
/// <param name="Name">Shape or folder.</param>
/// <param name="ModelType">Its architecture.</param>
/// <param name="Parameters">How many.</param>
/// <param name="Layers">How many.</param>
/// <param name="HiddenSize">Width.</param>
/// <param name="VocabularySize">Ids.</param>
/// <param name="Weights">Their type as computed with.</param>
public sealed record ProfiledModelInfo(string Name, string ModelType, long Parameters, int Layers, int HiddenSize, int VocabularySize, string Weights)
{
    /// <summary>Of a model, computed in Float32.</summary>
    public static ProfiledModelInfo Of(ProfiledModel model) => Of(model.Name, model.Config);

    private static ProfiledModelInfo Of(string name, ModelConfig config) =>
        new(name, config.ModelType, config.ParameterCount, config.LayerCount, config.HiddenSize, config.VocabSize, "F32");
}
