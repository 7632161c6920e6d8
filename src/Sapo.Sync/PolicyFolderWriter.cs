// How a published folder comes to be, so that no reader ever sees half of one:
//   <folder>.partial/  weights -> constant files -> manifest.json (last, atomically)  -> renamed to <folder>
// A partial folder without a manifest is the leftover of a killed publish and is removed by the next one; with a
// manifest it is complete, only its renaming is missing, and the next publish makes up for it.
using System.Security.Cryptography;
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Safetensors;

namespace Sapo.Sync;

/// <summary>Writes one published folder. Disposing it before <see cref="Finish"/> removes what was written.</summary>
internal sealed class PolicyFolderWriter : IDisposable
{
    private const string PartialSuffix = ".partial";

    private readonly string _folder, _partial;
    private readonly List<PublishedFile> _files = [];
    private bool _finished;

    /// <summary>Begins a folder; leftovers of an earlier attempt at it are removed.</summary>
    public PolicyFolderWriter(string folder)
    {
        _folder = Path.GetFullPath(folder);
        _partial = _folder + PartialSuffix;
        if (Directory.Exists(_partial)) Directory.Delete(_partial, recursive: true);
        Directory.CreateDirectory(_partial);
    }

    /// <summary>Makes up for the last step of publishes that were killed after their manifest was written, and removes all other leftovers.</summary>
    public static void Recover(string policiesFolder)
    {
        foreach (var partial in Directory.EnumerateDirectories(policiesFolder, "v*" + PartialSuffix).ToList())
        {
            var folder = partial[..^PartialSuffix.Length];
            if (File.Exists(Path.Combine(partial, PolicyManifest.FileName))) Replace(folder, partial);
            else Directory.Delete(partial, recursive: true);
        }
        foreach (var folder in Directory.EnumerateDirectories(policiesFolder, "v*").ToList())
            if (!File.Exists(Path.Combine(folder, PolicyManifest.FileName))) Directory.Delete(folder, recursive: true);
    }

    /// <summary>Removes a published folder, its manifest first: a kill in between leaves no folder that looks published.</summary>
    public static void Remove(string folder)
    {
        if (!Directory.Exists(folder)) return;
        File.Delete(Path.Combine(folder, PolicyManifest.FileName));
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Writes model.safetensors and flushes it to the disk.</summary>
    public void WriteWeights(IReadOnlyList<TensorHeader> tensors, Func<int, IEnumerable<ReadOnlyMemory<byte>>> dataOf)
    {
        using var stream = new FileStream(Path.Combine(_partial, PublishedPolicy.WeightsFile), FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1 << 16);
        var written = SafetensorsWriter.Write(stream, tensors, dataOf);
        stream.Flush(flushToDisk: true);
        _files.Add(new PublishedFile(PublishedPolicy.WeightsFile, written.Bytes, written.Sha256));
    }

    /// <summary>Puts a constant file into the folder: linked from an earlier version that has it, else written.</summary>
    public void Place(ModelFile file, PublishedPolicy? earlier)
    {
        var path = Path.Combine(_partial, file.Name);
        if (earlier?.Manifest.Files.FirstOrDefault(known => known.Name == file.Name) is { } same && File.Exists(Path.Combine(earlier.Folder, file.Name)))
        {
            HardLink.CreateOrCopy(Path.Combine(earlier.Folder, file.Name), path);
            _files.Add(same);
            return;
        }
        var content = file.Content();
        AtomicFile.WriteAllBytes(path, content);
        _files.Add(new PublishedFile(file.Name, content.Length, Convert.ToHexStringLower(SHA256.HashData(content))));
    }

    /// <summary>Writes the manifest and gives the folder its name. A folder of that name is replaced.</summary>
    public PublishedPolicy Finish(PolicyVersion version, IReadOnlyList<ProbeSequence> probe)
    {
        var manifest = new PolicyManifest { FormatVersion = 1, Version = version.Value, Files = [.. _files], Probe = probe };
        AtomicFile.WriteAllBytes(Path.Combine(_partial, PolicyManifest.FileName), JsonSerializer.SerializeToUtf8Bytes(manifest, ManifestJson.Default.PolicyManifest));
        Replace(_folder, _partial);
        _finished = true;
        return new PublishedPolicy(_folder, manifest);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (!_finished && Directory.Exists(_partial)) Directory.Delete(_partial, recursive: true);
    }

    private static void Replace(string folder, string partial)
    {
        Remove(folder);
        Directory.Move(partial, folder);
    }
}
