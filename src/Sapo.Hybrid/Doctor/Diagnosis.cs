using System.Globalization;
using Sapo.Core.Machine;

namespace Sapo.Hybrid.Doctor;

/// <summary>
/// What <c>sapo doctor</c> tells: every part of the machine and every engine, what was found and chosen, and what to do
/// where something is amiss. Looking and judging are apart, so that the judgement can be tested on any machine.
/// </summary>
public static class Diagnosis
{
    /// <summary>What the quickstart needs at its peak.</summary>
    public const long NeededMemoryBytes = 2L << 30;

    /// <summary>Room for the engines, the build and the run folder of the quickstart.</summary>
    public const long NeededDiskBytes = 2L << 30;

    private const string SetupRemedy =
        "Remove the folder .sapo of the repository and run the same command again: set-up and build then look at everything anew";

    /// <summary>Looks at this machine and loads the engines; takes about a second.</summary>
    /// <param name="folder">The folder that runs are written to; it need not exist yet.</param>
    /// <returns>The findings in a fixed order.</returns>
    public static IReadOnlyList<DoctorFinding> Examine(string folder)
    {
        var settings = NativeEnvironment.Prepare();
        return Judge(MachineProbe.Look(folder), EngineProbe.Look(), settings);
    }

    /// <summary>The exit code of <c>sapo doctor</c>: 2 where something is wrong, else 0.</summary>
    /// <param name="findings">What <see cref="Examine"/> returned.</param>
    public static int ExitCode(IEnumerable<DoctorFinding> findings) =>
        findings.Any(finding => finding.Status == FindingStatus.Wrong) ? 2 : 0;

    /// <summary>Judges what was seen.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="engines">The engines.</param>
    /// <param name="settings">The environment of the native libraries.</param>
    public static IReadOnlyList<DoctorFinding> Judge(MachineReport machine, EngineReport engines, IReadOnlyList<NativeSetting> settings) =>
    [
        Engines(machine, engines),
        Engine("ONNX Runtime", engines.OnnxRuntime),
        Engine("GenAI", engines.GenAI),
        Engine("libtorch", engines.Torch),
        Blas(machine, engines, settings),
        Cores(machine, engines),
        Memory(machine.Memory),
        Gpu(machine, engines),
        Disk(machine),
        .. settings.Select(Setting),
        Good("System", $"{machine.OperatingSystem}; {machine.DotnetRuntime}"),
    ];

    private static DoctorFinding Engines(MachineReport machine, EngineReport engines)
    {
        var found = engines.Runtime switch
        {
            "cuda" => "cuda: the CUDA packages",
            "cpu" => "cpu: the CPU packages",
            "local" => "local: ONNX Runtime and GenAI from npm, our binding over this machine's libtorch",
            var other => other,
        };
        return engines.Runtime != "cuda" && machine.Gpus.Count > 0
            ? Attention("Engines", found,
                "This machine has a GPU that these engines do not use: eng/setup.sh --runtime auto chooses again")
            : Good("Engines", found);
    }

    private static DoctorFinding Engine(string area, EngineState engine) =>
        engine.Failure is { } failure
            ? Wrong(area, "does not load: " + failure, SetupRemedy)
            : Good(area, engine.Version + (engine.SeesGpu ? ", with CUDA" : ""));

    private static DoctorFinding Blas(MachineReport machine, EngineReport engines, IReadOnlyList<NativeSetting> settings)
    {
        var found = $"{engines.Blas}; processor with {machine.VectorInstructions}";
        var byUser = settings.FirstOrDefault(setting => setting is { Name: "OPENBLAS_CORETYPE", SetByUser: true });
        if (byUser is not null)
        {
            return Attention("BLAS", found,
                $"OPENBLAS_CORETYPE is set to {byUser.Value} from outside; unset it to have the kernels chosen for this processor");
        }

        return machine.VectorInstructions == "baseline"
            ? Attention("BLAS", found, "Without AVX2 everything is several times slower: use another machine for more than a try")
            : Good("BLAS", found);
    }

    private static DoctorFinding Cores(MachineReport machine, EngineReport engines)
    {
        var synchronous = ThreadBudget.Divide(machine.Cores, overlapped: false);
        var overlapped = ThreadBudget.Divide(machine.Cores, overlapped: true);
        var found = $"{machine.Cores} of {machine.Processor}; threads of engine and learner: {synchronous.EngineThreads} and "
            + $"{synchronous.LearnerThreads} in turns, {overlapped.EngineThreads} and {overlapped.LearnerThreads} overlapped; "
            + $"learner now: {engines.TorchThreads}";
        return machine.Cores < 2
            ? Attention("Cores", found, "The quickstart's times are meant for 2 cores: expect about twice as long")
            : Good("Cores", found);
    }

    private static DoctorFinding Memory(MemoryState memory)
    {
        var found = $"{Gibibytes(memory.AvailableBytes)} available of {Gibibytes(memory.TotalBytes)}";
        var needed = $"The quickstart needs {Gibibytes(NeededMemoryBytes)}";
        if (memory.TotalBytes == 0) return Attention("Memory", "unknown", needed + ": make sure that they are free");
        if (memory.AvailableBytes >= NeededMemoryBytes) return Good("Memory", found);
        return memory.TotalBytes < NeededMemoryBytes
            ? Wrong("Memory", found, needed + ": raise the container's limit or use a larger machine")
            : Attention("Memory", found, needed + ": end other programs first");
    }

    private static DoctorFinding Gpu(MachineReport machine, EngineReport engines)
    {
        if (machine.Gpus.Count == 0) return Good("GPU", "none; the CPU does the work");
        var found = string.Join("; ", machine.Gpus.Select(gpu => $"{gpu.Name}, {Gibibytes(gpu.MemoryBytes)}, driver {gpu.Driver}"));
        if (engines.Runtime != "cuda" || (engines.OnnxRuntime.SeesGpu && engines.Torch.SeesGpu)) return Good("GPU", found);
        var blind = engines.Torch.SeesGpu ? "ONNX Runtime" : "libtorch";
        return Wrong("GPU", found, blind + " cannot use it: install a driver for CUDA 12.8 or newer, or run eng/setup.sh --runtime cpu");
    }

    private static DoctorFinding Disk(MachineReport machine)
    {
        var remedy = $"Runs and builds need about {Gibibytes(NeededDiskBytes)}: free some, or name a folder on another disk with --out";
        return machine.FreeDiskBytes switch
        {
            null => Attention("Disk", $"{machine.Folder}: unknown", remedy),
            < NeededDiskBytes and var free => Wrong("Disk", $"{machine.Folder}: {Gibibytes(free)} free", remedy),
            { } free => Good("Disk", $"{machine.Folder}: {Gibibytes(free)} free"),
        };
    }

    private static DoctorFinding Setting(NativeSetting setting)
    {
        var found = $"{setting.Name}={setting.Value}{(setting.SetByUser ? " (set by you)" : "")}: {setting.Reason}";
        return setting is { Name: "OMP_WAIT_POLICY", SetByUser: true } && !setting.Value.Equals("passive", StringComparison.OrdinalIgnoreCase)
            ? Attention("Environment", found, "Unset OMP_WAIT_POLICY")
            : Good("Environment", found);
    }

    private static DoctorFinding Good(string area, string found) => new(area, found, FindingStatus.Good, null);

    private static DoctorFinding Attention(string area, string found, string remedy) => new(area, found, FindingStatus.Attention, remedy);

    private static DoctorFinding Wrong(string area, string found, string remedy) => new(area, found, FindingStatus.Wrong, remedy);

    private static string Gibibytes(long bytes) => (bytes / (double)(1L << 30)).ToString("0.0", CultureInfo.InvariantCulture) + " GiB";
}
