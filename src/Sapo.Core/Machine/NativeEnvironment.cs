// Native libraries read their settings from the process's environment, most of them once, while they load:
//
//     Prepare() --setenv--> libc's environment --getenv--> OpenMP, OpenBLAS, ONNX Runtime (at their first load)
//
// .NET keeps a copy of the environment of its own, and Environment.SetEnvironmentVariable changes that copy only. So the
// settings are written by libc's setenv, here and nowhere else, before the first native library is loaded.
using System.Globalization;
using System.Runtime.InteropServices;

namespace Sapo.Core.Machine;

/// <summary>One variable of the environment that native libraries read.</summary>
/// <param name="Name">The variable.</param>
/// <param name="Value">Its value now.</param>
/// <param name="SetByUser">True where the user had set it; then it was left alone.</param>
/// <param name="Reason">Why Sapo sets it.</param>
public sealed record NativeSetting(string Name, string Value, bool SetByUser, string Reason);

/// <summary>Sets the environment of the native engines once, before any of them loads.</summary>
public static partial class NativeEnvironment
{
    private static readonly Lock Gate = new();
    private static IReadOnlyList<NativeSetting>? applied;

    /// <summary>
    /// Sets what <see cref="Choose"/> says and the user has not set. The first call decides; later calls, from any
    /// thread, change nothing, because the libraries have read their values by then. Does nothing elsewhere than on Linux.
    /// </summary>
    /// <param name="budget">The division of the cores; null: all cores for each side.</param>
    /// <returns>The settings that hold for this process, in a fixed order; empty elsewhere than on Linux.</returns>
    public static IReadOnlyList<NativeSetting> Prepare(ThreadBudget? budget = null)
    {
        lock (Gate)
        {
            return applied ??= OperatingSystem.IsLinux()
                ? [.. Choose(budget ?? ThreadBudget.ForMachine(overlapped: false), ProcessorInfo.Read()).Select(Apply)]
                : [];
        }
    }

    /// <summary>The settings for a division of the cores and a processor, before the user's own are looked at.</summary>
    /// <param name="budget">The division of the cores.</param>
    /// <param name="processor">The processor.</param>
    public static IReadOnlyList<NativeSetting> Choose(ThreadBudget budget, ProcessorInfo processor)
    {
        var learnerThreads = budget.LearnerThreads.ToString(CultureInfo.InvariantCulture);
        var settings = new List<NativeSetting>
        {
            new("OMP_WAIT_POLICY", "passive", false,
                "OpenMP threads that wait busily for work take the cores from the engine and from each other: steps became up to 30 times slower"),
            new("OMP_NUM_THREADS", learnerThreads, false,
                "the learner's threads: its share of the cores"),
            new("OPENBLAS_NUM_THREADS", "1", false,
                "the BLAS's threads: the learner cuts products into parts itself, and idle BLAS threads wait busily where others compute"),
            new("ORT_DISABLE_TELEMETRY", "1", false,
                "ONNX Runtime and GenAI send usage data unless told not to"),
        };
        if (processor.OpenBlasKernel is { } kernel)
        {
            settings.Add(new("OPENBLAS_CORETYPE", kernel, false,
                "OpenBLAS takes a processor it does not know for a very old one: matrix products became up to 5 times slower"));
        }

        return settings;
    }

    /// <summary>Writes one variable where the user has not set it, for native code and for programs that are started.</summary>
    internal static NativeSetting Apply(NativeSetting setting)
    {
        if (Environment.GetEnvironmentVariable(setting.Name) is { Length: > 0 } users)
            return setting with { Value = users, SetByUser = true };

        // setenv fails for a malformed name or without memory only; a run without the setting is slow, not wrong.
        if (SetEnv(setting.Name, setting.Value, overwrite: 1) != 0)
            return setting with { Value = "" };
        // .NET's copy goes to the programs we start.
        Environment.SetEnvironmentVariable(setting.Name, setting.Value);
        return setting;
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetEnv(string name, string value, int overwrite);
}
