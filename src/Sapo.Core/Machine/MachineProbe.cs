using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Sapo.Core.Machine;

/// <summary>Looks at the machine: /proc, the control groups, the disk, and nvidia-smi where it is installed.</summary>
public static class MachineProbe
{
    /// <summary>A driver that does not answer for this long is treated as absent.</summary>
    private static readonly TimeSpan GpuTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Looks at everything once; takes milliseconds, or up to some seconds where nvidia-smi is slow.</summary>
    /// <param name="folder">A folder on the disk whose free space matters; it need not exist yet.</param>
    public static MachineReport Look(string folder)
    {
        var processor = ProcessorInfo.Read();
        var fullPath = Path.GetFullPath(folder);
        return new MachineReport(
            processor.Model,
            processor.VectorInstructions,
            Environment.ProcessorCount,
            MemoryState.Read(),
            fullPath,
            FreeDisk(fullPath),
            FindGpus(),
            RuntimeInformation.OSDescription,
            RuntimeInformation.FrameworkDescription);
    }

    /// <summary>Bytes that may still be written to the disk of a folder, or of its nearest parent that exists.</summary>
    /// <param name="folder">The folder; it need not exist yet.</param>
    /// <returns>The bytes, or null where the system does not say.</returns>
    public static long? FreeDisk(string folder)
    {
        var existing = new DirectoryInfo(Path.GetFullPath(folder));
        while (!existing.Exists && existing.Parent is { } parent) existing = parent;
        try
        {
            return new DriveInfo(existing.FullName).AvailableFreeSpace;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>The GPUs nvidia-smi lists; empty where it is absent, fails or hangs.</summary>
    public static IReadOnlyList<GpuInfo> FindGpus()
    {
        try
        {
            string[] arguments = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"];
            using var process = Process.Start(new ProcessStartInfo("nvidia-smi", arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
            });
            if (process is null) return [];
            if (!process.WaitForExit(GpuTimeout))
            {
                process.Kill(entireProcessTree: true);
                return [];
            }

            return process.ExitCode == 0 ? ParseGpus(process.StandardOutput.ReadToEnd()) : [];
        }
        catch (Exception exception) when (exception is Win32Exception or InvalidOperationException)
        {
            return [];
        }
    }

    /// <summary>Parses nvidia-smi's "name, MiB, driver" lines; others are left out.</summary>
    internal static IReadOnlyList<GpuInfo> ParseGpus(string output)
    {
        var gpus = new List<GpuInfo>();
        foreach (var line in output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var fields = line.Split(',', StringSplitOptions.TrimEntries);
            if (fields.Length == 3 && long.TryParse(fields[1], CultureInfo.InvariantCulture, out var mebibytes))
                gpus.Add(new GpuInfo(fields[0], mebibytes << 20, fields[2]));
        }

        return gpus;
    }
}
