using System.Text;
using Sapo.Core;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>Where results go: one file per processor and kind, so that those of different machines lie beside each other.</summary>
internal static class ResultFile
{
    /// <summary>The file that was asked for, or that of this machine; its folder can be written.</summary>
    /// <param name="context">The machine.</param>
    /// <param name="asked">What the command line says, or null.</param>
    /// <param name="kind">Put behind the machine's name.</param>
    /// <exception cref="UserErrorException">The folder cannot be written.</exception>
    public static string For(ProfileContext context, string? asked, string kind)
    {
        var file = asked ?? Path.Combine("tools", "Sapo.Benchmarks", "results", NameOf(context.Processor, context.Cores) + kind + ".json");
        ProfileFiles.Prepare(Path.GetDirectoryName(Path.GetFullPath(file))!);
        return file;
    }

    /// <summary>Writes a result and says where.</summary>
    public static void Write(string file, byte[] json)
    {
        AtomicFile.WriteAllBytes(file, (byte[])[.. json, (byte)'\n']);
        Console.WriteLine($"Saved: {file}");
    }

    // "AMD EPYC 7B13" on 2 cores: amd-epyc-7b13-2-cores.
    private static string NameOf(string processor, int cores)
    {
        var name = new StringBuilder();
        foreach (var letter in $"{processor} {cores} cores".ToLowerInvariant())
        {
            if (char.IsAsciiLetterOrDigit(letter)) name.Append(letter);
            else if (name.Length > 0 && name[^1] != '-') name.Append('-');
        }
        return name.ToString().Trim('-');
    }
}
