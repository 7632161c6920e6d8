using System.Globalization;

namespace Sapo.Hybrid.Profiling;

/// <summary>Physical memory of this process, as Linux counts it.</summary>
internal static class ProcessMemory
{
    private const string Status = "/proc/self/status", ClearReferences = "/proc/self/clear_refs";

    /// <summary>Forgets the peak so far (proc(5): writing 5 resets it to what is resident now).</summary>
    /// <returns>False where the system has no such thing or refuses it.</returns>
    public static bool TryResetPeak()
    {
        if (!File.Exists(ClearReferences)) return false;
        try
        {
            File.WriteAllText(ClearReferences, "5");
            return true;
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Bytes resident now; 0 where the system does not say.</summary>
    public static long Resident() => Field("VmRSS:");

    /// <summary>Most bytes resident since the last reset; 0 where the system does not say.</summary>
    public static long Peak() => Field("VmHWM:");

    private static long Field(string name)
    {
        if (!File.Exists(Status)) return 0;
        var line = File.ReadLines(Status).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
        var kibibytes = line?[name.Length..].Replace("kB", "", StringComparison.Ordinal);
        return long.TryParse(kibibytes, CultureInfo.InvariantCulture, out var number) ? number * 1024 : 0;
    }
}
