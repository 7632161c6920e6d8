using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sapo.Core.Models;

namespace Sapo.Core;

/// <summary>One file of a published folder.</summary>
/// <param name="Name">Name within the folder, without a path.</param>
/// <param name="Bytes">Size.</param>
/// <param name="Sha256">Lower-case hexadecimal SHA-256 of its content.</param>
public sealed record PublishedFile(string Name, long Bytes, string Sha256);

/// <summary>The content of manifest.json: what a published folder holds and how an engine can tell that it runs it rightly.</summary>
public sealed record PolicyManifest
{
    /// <summary>The file's name. A folder without it is not a published policy; it is written last, atomically.</summary>
    public const string FileName = "manifest.json";

    /// <summary>The layout that this program writes and reads.</summary>
    public const int CurrentFormat = 1;

    /// <summary>Layout of this file: <see cref="CurrentFormat"/>.</summary>
    public required int FormatVersion { get; init; }

    /// <summary>The policy version.</summary>
    public required long Version { get; init; }

    /// <summary>Every file of the folder but the manifest.</summary>
    public required IReadOnlyList<PublishedFile> Files { get; init; }

    /// <summary>Sequences with the learner's log-probs, or, of a folder imported for an engine below 32 bits, with those of an engine in 32 bits; else empty: no learner has seen it.</summary>
    public required IReadOnlyList<ProbeSequence> Probe { get; init; }
}

/// <summary>A published policy: a folder that is at once a Hugging Face checkpoint, an ONNX Runtime model and a GenAI model.</summary>
/// <param name="Folder">Full path.</param>
/// <param name="Manifest">What manifest.json says.</param>
public sealed record PublishedPolicy(string Folder, PolicyManifest Manifest)
{
    /// <summary>The weights, as safetensors. The only file that is new with every version.</summary>
    public const string WeightsFile = "model.safetensors";

    /// <summary>The decode graph with the sampling head, for the direct ONNX Runtime session. Its initializers point into <see cref="WeightsFile"/>.</summary>
    public const string DecodeGraphFile = "decode.onnx";

    /// <summary>
    /// The same graph for the engine's own kernels: a product with a matrix is the operator <c>sapo.Linear</c>, attention <c>sapo.Attention</c>, and weights are inputs under
    /// their Hugging Face names, so that one session serves all versions. In 32 bits only.
    /// </summary>
    public const string DirectGraphFile = "decode.direct.onnx";

    /// <summary>The same graph by GenAI's conventions, for a session over ONNX Runtime GenAI: overlay <c>model.decoder.filename</c> with it.</summary>
    public const string GenAiDecodeGraphFile = "decode.genai.onnx";

    /// <summary>The sampling head alone, in a folder of ONNX Runtime GenAI's model builder: its graph gives logits, and this one draws from them.</summary>
    public const string SamplingHeadFile = "sample.onnx";

    /// <summary>The decode graph at a precision: <see cref="DecodeGraphFile"/>, or <c>decode.int4.onnx</c>.</summary>
    public static string DecodeGraphFileOf(Precision precision) => precision == Precision.Fp32 ? DecodeGraphFile : $"decode.{precision.Name()}.onnx";

    /// <summary>The decode graph for GenAI at a precision: <see cref="GenAiDecodeGraphFile"/>, or <c>decode.genai.int4.onnx</c>.</summary>
    public static string GenAiDecodeGraphFileOf(Precision precision) => precision == Precision.Fp32 ? GenAiDecodeGraphFile : $"decode.genai.{precision.Name()}.onnx";

    /// <summary>The weights at a precision: <see cref="WeightsFile"/>, or <c>weights.int4.safetensors</c> beside it (<see cref="ReducedLayout"/>).</summary>
    public static string WeightsFileOf(Precision precision) => precision == Precision.Fp32 ? WeightsFile : $"weights.{precision.Name()}.safetensors";

    /// <summary>Whether this is a folder of ONNX Runtime GenAI's model builder, with the sampling head beside its graph.</summary>
    public bool IsStock => IsStockManifest(Manifest);

    /// <summary>Identifies the weights: the SHA-256 of their file, or of a stock folder's files together.</summary>
    public string Fingerprint => IsStock
        ? Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(string.Concat(Manifest.Files.Select(file => file.Sha256)))))
        : Manifest.Files.First(file => file.Name == WeightsFile).Sha256;

    /// <summary>Whether the folder was written for a precision too; 32 bits are always there.</summary>
    public bool Has(Precision precision) => IsStock ? precision == Precision.Fp32 : Manifest.Files.Any(file => file.Name == DecodeGraphFileOf(precision));

    /// <summary>Whether the engine's own kernels can serve the folder.</summary>
    public bool HasDirectGraph => Manifest.Files.Any(file => file.Name == DirectGraphFile);

    /// <summary>The version.</summary>
    public PolicyVersion Version => new(Manifest.Version);

    /// <summary>Opens a folder: the manifest must be there, and every file must have the size it says.</summary>
    /// <exception cref="UserErrorException">No manifest, an unreadable one, or a file that differs from it.</exception>
    public static PublishedPolicy Open(string folder)
    {
        var path = Path.Combine(folder, PolicyManifest.FileName);
        if (!File.Exists(path))
            throw new UserErrorException($"{folder} has no {PolicyManifest.FileName}", "a published policy", "Publish or import the model first, or name another folder");
        PolicyManifest manifest;
        try
        {
            manifest = JsonSerializer.Deserialize(File.ReadAllBytes(path), ManifestJson.Default.PolicyManifest)
                ?? throw new JsonException("the file holds null");
        }
        catch (JsonException broken)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "a manifest as the publisher writes it", "Publish the policy again", broken);
        }
        CheckManifest(manifest, path);
        foreach (var file in manifest.Files)
        {
            var info = new FileInfo(Path.Combine(folder, file.Name));
            if (!info.Exists || info.Length != file.Bytes)
                throw new UserErrorException(
                    $"{info.FullName} {(info.Exists ? $"has {info.Length:N0} bytes" : "is missing")}", $"{file.Bytes:N0} bytes as {PolicyManifest.FileName} says", "Publish the policy again");
        }
        return new PublishedPolicy(Path.GetFullPath(folder), manifest);
    }

    /// <summary>Gives the folder other probe sequences, in place of those of its manifest.</summary>
    /// <exception cref="IOException">The manifest could not be written.</exception>
    public PublishedPolicy WithProbe(IReadOnlyList<ProbeSequence> probe)
    {
        var manifest = Manifest with { Probe = probe };
        AtomicFile.WriteAllBytes(Path.Combine(Folder, PolicyManifest.FileName), JsonSerializer.SerializeToUtf8Bytes(manifest, ManifestJson.Default.PolicyManifest));
        return this with { Manifest = manifest };
    }

    /// <summary>Reads every file and compares its SHA-256 with the manifest's: finds what a size alone does not show. About a second per gigabyte.</summary>
    /// <exception cref="UserErrorException">A file's content differs from what was published.</exception>
    public void Verify()
    {
        foreach (var file in Manifest.Files)
        {
            var path = Path.Combine(Folder, file.Name);
            using var stream = File.OpenRead(path);
            var found = Convert.ToHexStringLower(SHA256.HashData(stream));
            if (found != file.Sha256)
                throw new UserErrorException($"{path} has SHA-256 {found}", $"{file.Sha256} as {PolicyManifest.FileName} says", "It was changed after it was published: publish the policy again");
        }
    }

    private static bool IsStockManifest(PolicyManifest manifest) => manifest.Files.Any(file => file.Name == SamplingHeadFile);

    private static void CheckManifest(PolicyManifest manifest, string path)
    {
        const string Remedy = "Publish the policy again";
        if (manifest.FormatVersion != PolicyManifest.CurrentFormat)
            throw new UserErrorException($"{path} has formatVersion {manifest.FormatVersion}", $"{PolicyManifest.CurrentFormat}", Remedy);
        if (manifest.Version < 0) throw new UserErrorException($"{path} has version {manifest.Version}", "0 or more", Remedy);
        foreach (var file in manifest.Files)
            if (file.Name is "" or "." or ".." || file.Name != Path.GetFileName(file.Name))
                throw new UserErrorException($"{path} names the file '{file.Name}'", "plain names within the folder", "Do not use this folder unless you trust its source");
        foreach (var needed in IsStockManifest(manifest) ? [StockModelConfig.FileName] : new[] { WeightsFile, DecodeGraphFile })
            if (manifest.Files.All(file => file.Name != needed)) throw new UserErrorException($"{path} does not list {needed}", "weights and decode graph", Remedy);
        foreach (var sequence in manifest.Probe)
            if (sequence.TokenIds.Length < 2 || sequence.TokenIds.Length != sequence.LogProbs.Length)
                throw new UserErrorException($"{path} has a probe sequence of {sequence.TokenIds.Length} ids and {sequence.LogProbs.Length} log-probs", "as many of each, at least 2", Remedy);
    }
}

/// <summary>Reads and writes manifest.json.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PolicyManifest))]
public sealed partial class ManifestJson : JsonSerializerContext;
