// --model may name three things: a published policy (with manifest.json), a run folder's final/ (which is one), or a plain
// Hugging Face folder. The last is imported once into <model>/.sapo/, or, where that cannot be written, into a temporary
// folder that lives as long as this object. A stamp of the source files' sizes and times, and of the code that
// imports, tells when to import again.
using System.Globalization;
using Sapo.Core;
using Sapo.Sync;

namespace Sapo.Hybrid.Generation;

/// <summary>A model folder made ready to be served.</summary>
public sealed class ServedModel : IDisposable
{
    private readonly string? _temporary;

    private ServedModel(PublishedPolicy policy, string? temporary) => (Policy, _temporary) = (policy, temporary);

    /// <summary>The policy to serve.</summary>
    public PublishedPolicy Policy { get; }

    /// <summary>Opens a folder, importing it where needed.</summary>
    /// <param name="folder">A published policy, or a Hugging Face folder.</param>
    /// <param name="say">Told when an import begins: it takes a while with large models.</param>
    /// <exception cref="UserErrorException">It is neither, or it is broken.</exception>
    public static ServedModel Open(string folder, Action<string> say)
    {
        if (File.Exists(Path.Combine(folder, PolicyManifest.FileName))) return new ServedModel(PublishedPolicy.Open(folder), null);
        if (File.Exists(Path.Combine(folder, "final", PolicyManifest.FileName)))
            throw new UserErrorException(
                $"{folder} is a run folder", "a model folder", $"Name its final model: {Path.Combine(folder, "final")}");
        if (!File.Exists(Path.Combine(folder, "config.json")))
            throw new UserErrorException(
                $"{folder} {(Directory.Exists(folder) ? "is no model folder" : "does not exist")}",
                "a published policy or a Hugging Face folder with config.json", "Check --model");
        var cache = Path.Combine(folder, ".sapo");
        if (Cached(folder, cache) is { } cached) return new ServedModel(cached, null);
        say($"Importing {folder} ...");
        try
        {
            Directory.CreateDirectory(cache);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            var temporary = Directory.CreateTempSubdirectory("sapo-import-").FullName;
            return new ServedModel(Import(folder, temporary), temporary);
        }
        return new ServedModel(Import(folder, cache), null);
    }

    /// <summary>Removes a temporary import.</summary>
    public void Dispose()
    {
        if (_temporary is not null && Directory.Exists(_temporary)) Directory.Delete(_temporary, recursive: true);
    }

    private static PublishedPolicy? Cached(string folder, string cache)
    {
        var (stamp, policy) = Places(cache);
        return File.Exists(stamp) && string.Equals(File.ReadAllText(stamp), Stamp(folder), StringComparison.Ordinal)
            && File.Exists(Path.Combine(policy, PolicyManifest.FileName))
            ? PublishedPolicy.Open(policy)
            : null;
    }

    private static PublishedPolicy Import(string folder, string cache)
    {
        var (stamp, policy) = Places(cache);
        File.Delete(stamp);
        if (Directory.Exists(policy)) Directory.Delete(policy, recursive: true);
        var imported = PolicyImporter.Import(folder, policy);
        AtomicFile.WriteAllBytes(stamp, System.Text.Encoding.UTF8.GetBytes(Stamp(folder)));
        return imported;
    }

    private static (string Stamp, string Policy) Places(string cache) => (Path.Combine(cache, "source.txt"), Path.Combine(cache, "policy"));

    // The import's own code is part of it: another build may write other graphs.
    private static string Stamp(string folder) =>
        $"{typeof(PolicyImporter).Module.ModuleVersionId}\n" + string.Concat(new DirectoryInfo(folder).GetFiles().OrderBy(file => file.Name, StringComparer.Ordinal)
        .Select(file => $"{file.Name} {file.Length} {file.LastWriteTimeUtc.Ticks}\n"));
}
