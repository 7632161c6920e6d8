using System.Runtime.InteropServices;

namespace Sapo.Rollout.Decoding;

/// <summary>The C library's heap, which keeps the pages of a disposed session for itself unless told otherwise.</summary>
internal static partial class NativeHeap
{
    /// <summary>Gives free pages back to the system (glibc's malloc_trim); does nothing where the C library has no such call.</summary>
    public static void ReturnFreePages()
    {
        if (!OperatingSystem.IsLinux()) return;
        try
        {
            _ = Trim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // musl returns pages by itself
        }
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int Trim(nuint keep);
}
