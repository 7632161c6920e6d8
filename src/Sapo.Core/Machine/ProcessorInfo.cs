using System.Collections.Frozen;
using System.Runtime.InteropServices;

namespace Sapo.Core.Machine;

/// <summary>The processor as /proc/cpuinfo describes it.</summary>
/// <param name="Model">The vendor's name of the processor, or "unknown".</param>
/// <param name="Features">The instruction sets, in the kernel's lower-case names: avx2, fma, avx512f.</param>
public sealed record ProcessorInfo(string Model, FrozenSet<string> Features)
{
    /// <summary>What OpenBLAS's SkylakeX kernels need.</summary>
    private static readonly string[] SkylakeXFeatures = ["avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"];

    /// <summary>What OpenBLAS's Haswell kernels need.</summary>
    private static readonly string[] HaswellFeatures = ["avx2", "fma"];

    /// <summary>
    /// The fastest OpenBLAS kernels this processor can run (a value of OPENBLAS_CORETYPE), or null where OpenBLAS should
    /// choose: other architectures, and processors without AVX2.
    /// </summary>
    public string? OpenBlasKernel =>
        SkylakeXFeatures.All(Features.Contains) ? "SkylakeX"
        : HaswellFeatures.All(Features.Contains) ? "Haswell"
        : null;

    /// <summary>The widest vector instructions that matter here: "AVX-512", "AVX2", "NEON", or "baseline".</summary>
    public string VectorInstructions =>
        SkylakeXFeatures.All(Features.Contains) ? "AVX-512"
        : HaswellFeatures.All(Features.Contains) ? "AVX2"
        : Features.Contains("asimd") ? "NEON"
        : "baseline";

    /// <summary>Reads this machine's /proc/cpuinfo; where there is none, a processor without a known feature.</summary>
    public static ProcessorInfo Read() => Parse(TextOf("/proc/cpuinfo"));

    /// <summary>Parses the text of /proc/cpuinfo: "model name" and "flags" (x86) or "Features" (ARM) of its first processor.</summary>
    /// <param name="cpuinfo">The file's text; may be empty.</param>
    public static ProcessorInfo Parse(string cpuinfo)
    {
        string? model = null, features = null;
        foreach (var line in cpuinfo.Split('\n'))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon < 0) continue;
            var value = line[(colon + 1)..].Trim();
            switch (line[..colon].Trim())
            {
                case "model name": model ??= value; break;
                case "flags" or "Features": features ??= value; break;
            }
        }

        var words = (features ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new ProcessorInfo(model ?? $"unknown ({RuntimeInformation.ProcessArchitecture})", words.ToFrozenSet(StringComparer.Ordinal));
    }

    /// <summary>A small system file's text, or "" where it is absent or closed to us.</summary>
    internal static string TextOf(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllText(path) : "";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
