using Sapo.Core;

namespace Sapo.Hybrid.Runs;

/// <summary>Tells a full disk, which the user can mend, from other failures of files.</summary>
internal static class DiskFull
{
    private const int NoSpaceOnUnix = 28; // ENOSPC, the raw errno that .NET puts into HResult
    private const int NoSpaceOnWindows = 0x70; // ERROR_DISK_FULL, the low half of HResult

    /// <summary>True if a write failed for lack of space.</summary>
    public static bool Is(Exception failure) =>
        failure is IOException io
            && (OperatingSystem.IsWindows() ? (io.HResult & 0xFFFF) == NoSpaceOnWindows : io.HResult == NoSpaceOnUnix);

    /// <summary>The message for it.</summary>
    public static UserErrorException Error(string folder, Exception failure) =>
        new(
            $"{folder}: {failure.Message}", "free space on that disk",
            "Free some and run the same command again: the run goes on from its last checkpoint", failure);
}
