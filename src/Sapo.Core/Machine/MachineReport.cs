namespace Sapo.Core.Machine;

/// <summary>A GPU as its driver reports it.</summary>
/// <param name="Name">The product's name.</param>
/// <param name="MemoryBytes">Its memory.</param>
/// <param name="Driver">The driver's version.</param>
public sealed record GpuInfo(string Name, long MemoryBytes, string Driver);

/// <summary>The machine a run or a benchmark was done on; a plain record that is written beside its numbers.</summary>
/// <param name="Processor">The processor's model name.</param>
/// <param name="VectorInstructions">See <see cref="ProcessorInfo.VectorInstructions"/>.</param>
/// <param name="Cores">The cores this process may use.</param>
/// <param name="Memory">The memory this process may use.</param>
/// <param name="Folder">The folder whose disk was looked at, absolute.</param>
/// <param name="FreeDiskBytes">Bytes this user may still write there; null where the system does not say.</param>
/// <param name="Gpus">The GPUs; empty where there is none or its driver's nvidia-smi is not installed.</param>
/// <param name="OperatingSystem">Name and version of the operating system.</param>
/// <param name="DotnetRuntime">Name and version of the .NET runtime.</param>
public sealed record MachineReport(
    string Processor,
    string VectorInstructions,
    int Cores,
    MemoryState Memory,
    string Folder,
    long? FreeDiskBytes,
    IReadOnlyList<GpuInfo> Gpus,
    string OperatingSystem,
    string DotnetRuntime);
