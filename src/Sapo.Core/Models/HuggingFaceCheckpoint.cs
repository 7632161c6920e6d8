// A Hugging Face model folder: config.json plus model.safetensors, or several shards with model.safetensors.index.json.
// Opening one checks that files and configuration agree: every parameter there once, in the shard the index names, with
// the shape config.json implies, stored as F32, F16 or BF16, and nothing else.
using System.Text.Json;
using Sapo.Core.Safetensors;

namespace Sapo.Core.Models;

/// <summary>One open checkpoint. Its tensors are views of mapped files, valid until it is disposed.</summary>
public sealed class HuggingFaceCheckpoint : IDisposable
{
    private const string SingleFile = "model.safetensors", IndexFile = "model.safetensors.index.json";

    private const int PieceElements = 1 << 24; // their bytes stay below the 2 GiB that a span can hold

    private readonly Dictionary<string, (SafetensorsFile File, SafetensorsEntry Entry)> _tensors = new(StringComparer.Ordinal);
    private readonly List<SafetensorsFile> _files = [];

    private HuggingFaceCheckpoint(string folder, ModelConfig config) => (Folder, Config) = (folder, config);

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>Its configuration.</summary>
    public ModelConfig Config { get; }

    /// <summary>Opens and checks a folder.</summary>
    /// <exception cref="UserErrorException">A file is missing or broken, or files and configuration disagree; the message names the file or tensor.</exception>
    public static HuggingFaceCheckpoint Open(string folder)
    {
        if (!Directory.Exists(folder)) throw new UserErrorException($"{folder} does not exist", "a Hugging Face model folder", "Check the path");
        var checkpoint = new HuggingFaceCheckpoint(folder, ModelConfigReader.Read(folder));
        try
        {
            checkpoint.OpenFiles();
            checkpoint.CheckTensors();
            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>The file and place of a parameter, by its checkpoint name.</summary>
    public (SafetensorsFile File, SafetensorsEntry Entry) Find(string name) => _tensors[name];

    /// <summary>Copies one parameter, or a part of it, as 32-bit floats; F16 and BF16 widen exactly.</summary>
    /// <param name="name">Its checkpoint name.</param>
    /// <param name="destination">As many elements as are wanted.</param>
    /// <param name="start">The first element wanted, in row-major order.</param>
    /// <exception cref="UserErrorException">A value is not finite.</exception>
    public void CopyTo(string name, Span<float> destination, long start = 0)
    {
        var (file, entry) = _tensors[name];
        var size = SafetensorsFile.ElementSize(entry.Type);
        for (var done = 0; done < destination.Length; done += PieceElements)
        {
            var piece = destination[done..Math.Min(done + PieceElements, destination.Length)];
            WeightConversion.ToSingle(file.Read(entry, (start + done) * size, piece.Length * size), entry.Type, piece);
            var bad = WeightConversion.IndexOfNonFinite(piece);
            if (bad >= 0)
                throw new UserErrorException(
                    $"{file.Path}: {name} holds {piece[bad]} at element {start + done + bad}", "finite weights", "Use a checkpoint from before the training diverged, or download it again");
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var file in _files) file.Dispose();
    }

    private void OpenFiles()
    {
        var index = Path.Combine(Folder, IndexFile);
        var single = Path.Combine(Folder, SingleFile);
        if (!File.Exists(index))
        {
            if (!File.Exists(single)) throw new UserErrorException($"{Folder} has neither {SingleFile} nor {IndexFile}", "weights in safetensors form", "Check the folder, or download the weights");
            Add(SafetensorsFile.Open(single));
            return;
        }
        var shardOf = ReadIndex(index);
        foreach (var shard in shardOf.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            if (shard.Length == 0 || !string.Equals(shard, Path.GetFileName(shard), StringComparison.Ordinal) || shard is "." or "..")
                throw new UserErrorException($"{index} names the shard {shard}", "a plain file name within the folder", "Do not use this checkpoint unless you trust its source");
            var path = Path.Combine(Folder, shard);
            if (!File.Exists(path)) throw new UserErrorException($"{index} names {shard}, which is not in {Folder}", null, "Download the missing shard");
            Add(SafetensorsFile.Open(path));
        }
        foreach (var (name, shard) in shardOf)
            if (!_tensors.TryGetValue(name, out var found) || !string.Equals(Path.GetFileName(found.File.Path), shard, StringComparison.Ordinal))
                throw new UserErrorException($"{index} says that {name} is in {shard}; it is {(found.File is null ? "in no shard" : "in " + Path.GetFileName(found.File.Path))}", null, "Use the index saved with these shards");
    }

    private static Dictionary<string, string> ReadIndex(string path)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            return document.RootElement.GetProperty("weight_map").EnumerateObject().ToDictionary(pair => pair.Name, pair => pair.Value.GetString() ?? "", StringComparer.Ordinal);
        }
        catch (Exception broken) when (broken is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "an object weight_map from tensor to shard", "Copy or download it again", broken);
        }
    }

    private void Add(SafetensorsFile file)
    {
        _files.Add(file);
        foreach (var entry in file.Entries)
            if (!_tensors.TryAdd(entry.Name, (file, entry)))
                throw new UserErrorException($"{file.Path}: {entry.Name} is also in {Path.GetFileName(_tensors[entry.Name].File.Path)}", "every tensor once", "Use the shards of one checkpoint");
    }

    private void CheckTensors()
    {
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (name, shape) in Config.Parameters())
        {
            expected.Add(name);
            if (!_tensors.TryGetValue(name, out var found))
                throw new UserErrorException($"{Folder}: {name} is missing", "every parameter that config.json implies", "Use the config.json saved with these weights");
            CheckStored(found.File, found.Entry);
            if (!found.Entry.Shape.SequenceEqual(shape))
                throw new UserErrorException(
                    $"{found.File.Path}: {name} is [{string.Join(", ", found.Entry.Shape)}], config.json implies [{string.Join(", ", shape)}]", null, "Use the config.json saved with these weights");
        }
        foreach (var (name, (file, entry)) in _tensors)
        {
            if (expected.Contains(name) || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal)) continue;
            if (name == "lm_head.weight" && Config.TieWordEmbeddings) CheckTied(file, entry);
            else throw new UserErrorException($"{file.Path}: {name} is no parameter of a {Config.ModelType} model with this config.json", null, "Use the config.json saved with these weights");
        }
        if (Config.TieWordEmbeddings) _tensors.Remove("lm_head.weight");
    }

    private static void CheckStored(SafetensorsFile file, SafetensorsEntry entry)
    {
        if (entry.Type is not (WeightType.F32 or WeightType.F16 or WeightType.BF16))
            throw new UserErrorException($"{file.Path}: {entry.Name} is stored as {entry.Type}", "F32, F16 or BF16", "Convert the checkpoint");
    }

    private void CheckTied(SafetensorsFile file, SafetensorsEntry head)
    {
        var (embeddingFile, embedding) = _tensors["model.embed_tokens.weight"];
        CheckStored(file, head);
        var equal = head.Type == embedding.Type && head.Shape.SequenceEqual(embedding.Shape);
        for (long start = 0; equal && start < head.Bytes; start += PieceElements) // in pieces: either may be longer than a span can be
        {
            var count = (int)Math.Min(PieceElements, head.Bytes - start);
            equal = file.Read(head, start, count).SequenceEqual(embeddingFile.Read(embedding, start, count));
        }
        if (!equal)
            throw new UserErrorException($"{file.Path}: lm_head.weight differs from model.embed_tokens.weight, but config.json says tie_word_embeddings", "one of the two", "Set tie_word_embeddings to false, or remove lm_head.weight");
    }
}
