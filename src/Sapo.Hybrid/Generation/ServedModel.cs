// --model may name four things: a published policy (with manifest.json), a run folder's final/ (which is one), a plain
// Hugging Face folder, or a folder of ONNX Runtime GenAI's model builder. The last two are imported once into
// <model>/.sapo/, or, where that cannot be written, into a temporary folder that lives as long as this object; so is a
// published policy that was not written at the precision asked for. A stamp of the source files' sizes and times, and of the
// code that imports, tells when to import again.
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Sync;

namespace Sapo.Hybrid.Generation;

/// <summary>A model folder made ready to be served.</summary>
public sealed class ServedModel : IDisposable
{
    private readonly string? _temporary;

    private ServedModel(PublishedPolicy policy, string? temporary) => (Policy, _temporary) = (policy, temporary);

    /// <summary>The policy to serve.</summary>
    public PublishedPolicy Policy { get; internal set; }

    /// <summary>Opens a folder, importing it where needed.</summary>
    /// <param name="folder">A published policy, a Hugging Face folder, or a folder of GenAI's model builder.</param>
    /// <param name="precision">What an engine is to read weights in.</param>
    /// <param name="say">Told when an import begins: it takes a while with large models.</param>
    /// <exception cref="UserErrorException">It is none of them, it is broken, or it cannot be served at the precision.</exception>
    public static ServedModel Open(string folder, Precision precision, Action<string> say)
    {
        if (File.Exists(Path.Combine(folder, PolicyManifest.FileName)))
        {
            var published = PublishedPolicy.Open(folder);
            if (published.Has(precision)) return new ServedModel(published, null);
            var reduced = OpenImported(folder, precision, say);
            reduced.Policy = reduced.Policy with { Manifest = reduced.Policy.Manifest with { Version = published.Manifest.Version, Probe = published.Manifest.Probe } };
            return reduced;
        }
        if (File.Exists(Path.Combine(folder, "final", PolicyManifest.FileName)))
            throw new UserErrorException(
                $"{folder} is a run folder", "a model folder", $"Name its final model: {Path.Combine(folder, "final")}");
        if (StockImporter.IsStock(folder) && precision != Precision.Fp32)
            throw new UserErrorException(
                $"{folder} is a folder of GenAI's model builder and the precision {precision.Name()} is asked for", "fp32: it is run as it was built, whatever its weights are",
                "Leave --precision out, or name the Hugging Face folder that it was built from");
        if (!File.Exists(Path.Combine(folder, "config.json")) && !StockImporter.IsStock(folder))
            throw new UserErrorException(
                $"{folder} {(Directory.Exists(folder) ? "is no model folder" : "does not exist")}",
                "a published policy, a Hugging Face folder with config.json, or a folder of GenAI's model builder with genai_config.json", "Check --model");
        return OpenImported(folder, precision, say);
    }

    /// <summary>Removes a temporary import.</summary>
    public void Dispose()
    {
        if (_temporary is not null && Directory.Exists(_temporary)) Directory.Delete(_temporary, recursive: true);
    }

    private static ServedModel OpenImported(string folder, Precision precision, Action<string> say)
    {
        var cache = Path.Combine(folder, ".sapo");
        if (Cached(folder, precision, cache) is { } cached) return new ServedModel(cached, null);
        say(precision == Precision.Fp32 ? $"Importing {folder} ..." : $"Importing {folder} at {precision.Name()} ...");
        try
        {
            Directory.CreateDirectory(cache);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            var temporary = Directory.CreateTempSubdirectory("sapo-import-").FullName;
            return new ServedModel(Import(folder, precision, temporary), temporary);
        }
        try
        {
            return new ServedModel(Import(folder, precision, cache), null);
        }
        catch (UserErrorException)
        {
            if (!Directory.EnumerateFileSystemEntries(cache).Any()) Directory.Delete(cache); // a folder that cannot be imported is left as it was
            throw;
        }
    }

    private static PublishedPolicy? Cached(string folder, Precision precision, string cache)
    {
        var (stamp, policy) = Places(cache, precision);
        return File.Exists(stamp) && string.Equals(File.ReadAllText(stamp), Stamp(folder), StringComparison.Ordinal)
            && File.Exists(Path.Combine(policy, PolicyManifest.FileName))
            ? PublishedPolicy.Open(policy)
            : null;
    }

    private static PublishedPolicy Import(string folder, Precision precision, string cache)
    {
        var (stamp, policy) = Places(cache, precision);
        File.Delete(stamp);
        if (Directory.Exists(policy)) Directory.Delete(policy, recursive: true);
        var imported = StockImporter.IsStock(folder) ? StockImporter.Import(folder, policy) : PolicyImporter.Import(folder, policy, precision: precision);
        AtomicFile.WriteAllBytes(stamp, System.Text.Encoding.UTF8.GetBytes(Stamp(folder)));
        return imported;
    }

    private static (string Stamp, string Policy) Places(string cache, Precision precision)
    {
        var suffix = precision == Precision.Fp32 ? "" : "-" + precision.Name();
        return (Path.Combine(cache, $"source{suffix}.txt"), Path.Combine(cache, "policy" + suffix));
    }

    // The import's own code is part of it: another build may write other graphs.
    private static string Stamp(string folder) =>
        $"{typeof(PolicyImporter).Module.ModuleVersionId}\n" + string.Concat(new DirectoryInfo(folder).GetFiles().OrderBy(file => file.Name, StringComparer.Ordinal)
        .Select(file => $"{file.Name} {file.Length} {file.LastWriteTimeUtc.Ticks}\n"));
}
