// How a published folder comes to be, so that no reader ever sees half of one:
//   <folder>.partial/  weights -> (weights at the engine's precision) -> constant files -> manifest.json (last, atomically)  -> renamed to <folder>
// A partial folder without a manifest is the leftover of a killed publish and is removed by the next one; with a
// manifest it is complete, only its renaming is missing, and the next publish makes up for it.
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync.Weights;

namespace Sapo.Sync;

/// <summary>Writes one published folder. Disposing it before <see cref="Finish"/> removes what was written.</summary>
internal sealed class PolicyFolderWriter : IDisposable
{
    private const string PartialSuffix = ".partial";

    private readonly string _folder, _partial;
    private readonly Disk _disk;
    private readonly List<PublishedFile> _files = [];

    /// <summary>Names a folder; nothing is written yet.</summary>
    public PolicyFolderWriter(string folder, Disk disk)
    {
        _disk = disk;
        _folder = Path.GetFullPath(folder);
        _partial = _folder + PartialSuffix;
    }

    /// <summary>Makes up for the last step of publishes that were killed after their manifest was written, and removes all other leftovers.</summary>
    public static void Recover(string policiesFolder)
    {
        foreach (var partial in Directory.GetDirectories(policiesFolder, "v*" + PartialSuffix))
        {
            var folder = partial[..^PartialSuffix.Length];
            if (VersionOf(folder) is null) continue;
            if (IsComplete(partial)) Replace(folder, partial);
            else Directory.Delete(partial, recursive: true);
        }
        foreach (var folder in Directory.GetDirectories(policiesFolder, "v*"))
            if (VersionOf(folder) is not null && !File.Exists(Path.Combine(folder, PolicyManifest.FileName))) Directory.Delete(folder, recursive: true);
    }

    /// <summary>The version that a folder's name says, or null when it is not the name of a version.</summary>
    public static PolicyVersion? VersionOf(string folder)
    {
        var name = Path.GetFileName(folder);
        return long.TryParse(name.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && new PolicyVersion(number).ToString() == name ? new(number) : null;
    }

    /// <summary>Removes a published folder, its manifest first: a kill in between leaves no folder that looks published.</summary>
    public static void Remove(string folder)
    {
        if (!Directory.Exists(folder)) return;
        File.Delete(Path.Combine(folder, PolicyManifest.FileName));
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Begins the folder: leftovers of an earlier attempt at it are removed.</summary>
    public void Begin()
    {
        RemovePartial();
        Directory.CreateDirectory(_partial);
    }

    /// <summary>Writes a file of weights, flushed to the disk.</summary>
    /// <exception cref="UserErrorException">The disk has too little room.</exception>
    /// <exception cref="IOException">It could not be written.</exception>
    public PublishedFile WriteWeights(string name, IReadOnlyList<TensorHeader> tensors, Func<int, IEnumerable<ReadOnlyMemory<byte>>> dataOf)
    {
        var (needed, free) = (tensors.Sum(tensor => tensor.Bytes), _disk.FreeBytes(_partial));
        if (free < needed)
            throw new UserErrorException($"{_folder} needs {needed:N0} bytes, the disk has {free:N0} free", null, "Free some space, or keep fewer versions; older versions are untouched");
        try
        {
            using var stream = _disk.Create(Path.Combine(_partial, name));
            var written = SafetensorsWriter.Write(stream, tensors, dataOf);
            stream.Flush();
            if (stream is FileStream onDisk) onDisk.Flush(flushToDisk: true);
            var file = new PublishedFile(name, written.Bytes, written.Sha256);
            _files.Add(file);
            return file;
        }
        catch (IOException failure)
        {
            throw new IOException($"{failure.Message} ({needed:N0} bytes are needed, {_disk.FreeBytes(_partial):N0} are free)", failure);
        }
    }

    /// <summary>Writes the weights at a precision below 32 bits.</summary>
    public PublishedFile WriteReduced(ReducedLayout layout, ReducedWeights.Reader read, CancellationToken cancel)
    {
        var reduced = new ReducedWeights(layout, read, cancel);
        return WriteWeights(PublishedPolicy.WeightsFileOf(layout.Precision), [.. layout.Tensors.Select(tensor => tensor.Header)], reduced.Pieces);
    }

    /// <summary>Puts a constant file into the folder: linked from an earlier version that has it, else written.</summary>
    public PublishedFile Place(ModelFile file, PublishedPolicy? earlier, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var path = Path.Combine(_partial, file.Name);
        var placed = earlier?.Manifest.Files.FirstOrDefault(known => known.Name == file.Name);
        if (placed is not null && File.Exists(Path.Combine(earlier!.Folder, file.Name)))
        {
            HardLink.CreateOrCopy(Path.Combine(earlier.Folder, file.Name), path);
        }
        else
        {
            var content = file.Content();
            AtomicFile.WriteAllBytes(path, content);
            placed = new PublishedFile(file.Name, content.Length, Convert.ToHexStringLower(SHA256.HashData(content)));
        }
        _files.Add(placed);
        return placed;
    }

    /// <summary>Puts a file of another folder into this one, under its own name; a symbolic link stands for what it leads to.</summary>
    public PublishedFile Link(string source)
    {
        var file = File.ResolveLinkTarget(source, returnFinalTarget: true)?.FullName ?? source;
        var name = Path.GetFileName(source);
        HardLink.CreateOrCopy(file, Path.Combine(_partial, name));
        using var stream = File.OpenRead(file);
        var placed = new PublishedFile(name, stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream)));
        _files.Add(placed);
        return placed;
    }

    /// <summary>Writes the manifest and gives the folder its name. A folder of that name is replaced.</summary>
    public PublishedPolicy Finish(PolicyVersion version, IReadOnlyList<ProbeSequence> probe, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var manifest = new PolicyManifest { FormatVersion = PolicyManifest.CurrentFormat, Version = version.Value, Files = [.. _files], Probe = probe };
        AtomicFile.WriteAllBytes(Path.Combine(_partial, PolicyManifest.FileName), JsonSerializer.SerializeToUtf8Bytes(manifest, ManifestJson.Default.PolicyManifest));
        Replace(_folder, _partial);
        return new PublishedPolicy(_folder, manifest);
    }

    /// <inheritdoc />
    public void Dispose() => RemovePartial();

    private void RemovePartial()
    {
        if (Directory.Exists(_partial)) Directory.Delete(_partial, recursive: true);
    }

    private static bool IsComplete(string partial)
    {
        try
        {
            PublishedPolicy.Open(partial);
            return true;
        }
        catch (UserErrorException)
        {
            return false; // no manifest, or files that differ from it
        }
    }

    private static void Replace(string folder, string partial)
    {
        Remove(folder);
        Directory.Move(partial, folder);
    }
}
