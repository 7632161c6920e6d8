using System.Globalization;

namespace Sapo.Core.Machine;

/// <summary>The memory this process may use, in bytes: the machine's, or its container's where that is less.</summary>
/// <param name="TotalBytes">All of it; 0 where the system does not say.</param>
/// <param name="AvailableBytes">What can be used without swapping; 0 where the system does not say.</param>
public sealed record MemoryState(long TotalBytes, long AvailableBytes)
{
    /// <summary>
    /// Reads /proc/meminfo and the limits of every control group above this process (versions 1 and 2).
    /// Elsewhere than on Linux, what the garbage collector knows of the machine.
    /// </summary>
    public static MemoryState Read()
    {
        if (!OperatingSystem.IsLinux())
        {
            var memory = GC.GetGCMemoryInfo();
            return new MemoryState(memory.TotalAvailableMemoryBytes, memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes);
        }

        var state = ParseMeminfo(ProcessorInfo.TextOf("/proc/meminfo"));
        foreach (var (limit, used, cache) in GroupFolders(ProcessorInfo.TextOf("/proc/self/cgroup")).Select(ReadGroup))
            state = state.Within(limit, used, cache);
        return state;
    }

    /// <summary>Parses MemTotal and MemAvailable of /proc/meminfo.</summary>
    /// <param name="meminfo">The file's text, sizes in kB; may be empty.</param>
    public static MemoryState ParseMeminfo(string meminfo)
    {
        return new MemoryState(Field("MemTotal:"), Field("MemAvailable:"));

        long Field(string name)
        {
            var line = meminfo.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
            var number = line?[name.Length..].Replace("kB", "", StringComparison.Ordinal);
            return long.TryParse(number, CultureInfo.InvariantCulture, out var kibibytes) ? kibibytes * 1024 : 0;
        }
    }

    /// <summary>This memory inside a control group's limit.</summary>
    /// <param name="limitBytes">The group's limit, or null where it has none.</param>
    /// <param name="usedBytes">What the group uses, page cache included.</param>
    /// <param name="cacheBytes">The part of it that is page cache the kernel gives back when asked.</param>
    public MemoryState Within(long? limitBytes, long usedBytes, long cacheBytes) =>
        limitBytes is not { } limit || limit >= TotalBytes
            ? this
            : new MemoryState(limit, Math.Clamp(limit - (usedBytes - cacheBytes), 0, AvailableBytes));

    /// <summary>
    /// The folders of the memory control groups this process is in, innermost first, from the text of /proc/self/cgroup:
    /// lines "0::/path" (version 2) and "4:memory:/path" (version 1). A path is relative to the root of the hierarchy.
    /// </summary>
    internal static IEnumerable<string> GroupFolders(string membership)
    {
        foreach (var line in membership.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var fields = line.Split(':', 3);
            if (fields.Length != 3) continue;
            var root = fields[1].Length == 0 ? "/sys/fs/cgroup" : fields[1].Split(',').Contains("memory") ? "/sys/fs/cgroup/memory" : null;
            if (root is null) continue;
            for (var path = fields[2].TrimEnd('/'); path.Length > 0; path = path[..path.LastIndexOf('/')])
                yield return root + path;
            yield return root;
        }
    }

    private static (long? Limit, long Used, long Cache) ReadGroup(string folder)
    {
        var version2 = File.Exists(Path.Combine(folder, "memory.max"));
        var limit = Number(version2 ? "memory.max" : "memory.limit_in_bytes");
        var used = Number(version2 ? "memory.current" : "memory.usage_in_bytes") ?? 0;
        var cacheName = version2 ? "inactive_file " : "total_inactive_file ";
        var cacheLine = ProcessorInfo.TextOf(Path.Combine(folder, "memory.stat")).Split('\n')
            .FirstOrDefault(line => line.StartsWith(cacheName, StringComparison.Ordinal));
        return (limit, used, cacheLine is null ? 0 : ParseNumber(cacheLine[cacheName.Length..]) ?? 0);

        long? Number(string file) => ParseNumber(ProcessorInfo.TextOf(Path.Combine(folder, file)));
    }

    /// <summary>Null for "max", for an absent file and for anything else that is no number.</summary>
    private static long? ParseNumber(string text) => long.TryParse(text, CultureInfo.InvariantCulture, out var number) ? number : null;
}
