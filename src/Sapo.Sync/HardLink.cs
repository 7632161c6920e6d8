using System.Runtime.InteropServices;

namespace Sapo.Sync;

/// <summary>Gives one file a second name.</summary>
internal static partial class HardLink
{
    /// <summary>Links where the file system can; copies where it cannot (another volume, a file system without links).</summary>
    /// <exception cref="IOException">The copy failed too.</exception>
    public static void CreateOrCopy(string existing, string path)
    {
        var linked = OperatingSystem.IsWindows() ? CreateHardLink(path, existing, 0) : Link(existing, path) == 0;
        if (!linked) File.Copy(existing, path);
    }

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string path);

    [LibraryImport("kernel32", EntryPoint = "CreateHardLinkW", StringMarshalling = StringMarshalling.Utf16)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool CreateHardLink(string path, string existing, nint reserved);
}
