// <folder>.partial/ is filled by its owner, then takes the folder's name:
//   every file flushed -> the partial folder's entries flushed -> earlier folder removed -> renamed -> the parent's entries flushed
// A rename alone survives a killed process; only the flushes make it survive a power cut.
using System.Runtime.InteropServices;

namespace Sapo.Core;

/// <summary>Gives a finished folder its name so that, whenever process or machine stops, no folder of that name is half written.</summary>
public static partial class AtomicFolder
{
    /// <summary>What an unfinished folder's name ends with.</summary>
    public const string PartialSuffix = ".partial";

    /// <summary>Makes the empty folder to fill: <paramref name="folder"/> with <see cref="PartialSuffix"/>. Leftovers of an earlier attempt are removed.</summary>
    /// <returns>Its path.</returns>
    public static string Begin(string folder)
    {
        var partial = folder + PartialSuffix;
        if (Directory.Exists(partial)) Directory.Delete(partial, recursive: true);
        Directory.CreateDirectory(partial);
        return partial;
    }

    /// <summary>Flushes what was written since <see cref="Begin"/> and renames it to <paramref name="folder"/>; an earlier folder of that name is replaced.</summary>
    /// <exception cref="IOException">The disk is full or not writable; the earlier folder may be gone, the partial one is still there.</exception>
    public static void Finish(string folder)
    {
        var partial = folder + PartialSuffix;
        foreach (var file in Directory.EnumerateFiles(partial, "*", SearchOption.AllDirectories)) FlushFile(file);
        foreach (var inner in Directory.EnumerateDirectories(partial, "*", SearchOption.AllDirectories).Append(partial)) FlushEntries(inner);
        if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        Directory.Move(partial, folder);
        FlushEntries(Path.GetDirectoryName(Path.GetFullPath(folder))!);
    }

    private static void FlushFile(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        stream.Flush(flushToDisk: true);
    }

    /// <summary>Flushes a folder's list of names. Systems that cannot open a folder (Windows) keep it in their journal themselves.</summary>
    private static void FlushEntries(string folder)
    {
        if (!OperatingSystem.IsLinux()) return;
        var descriptor = Open(folder, flags: 0);
        if (descriptor < 0) throw Failure(folder);
        var flushed = FSync(descriptor) == 0 || Marshal.GetLastPInvokeError() == NotSupportedByFileSystem;
        var failure = flushed ? null : Failure(folder);
        _ = Close(descriptor); // read-only: nothing can be lost in closing
        if (failure is not null) throw failure;
    }

    /// <summary>EINVAL: some network and overlay file systems have no fsync for folders.</summary>
    private const int NotSupportedByFileSystem = 22;

    private static IOException Failure(string folder) =>
        new($"{folder} could not be flushed to the disk: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int FSync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Close(int descriptor);
}
