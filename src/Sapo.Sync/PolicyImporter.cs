using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Sync;

/// <summary>Makes a published policy of a Hugging Face folder, so that an engine can serve it without a learner.</summary>
public static class PolicyImporter
{
    private const int PieceElements = 1 << 20; // 4 MiB of floats at a time: a checkpoint is never in memory as a whole

    /// <summary>Imports a folder. F16 and BF16 weights are widened to F32, shards become one file.</summary>
    /// <param name="huggingFaceFolder">config.json, weights as safetensors (one file or shards), tokenizer files if there are any.</param>
    /// <param name="outputFolder">The folder that is made; it must not exist, or be empty.</param>
    /// <param name="maxSequenceLength">Longest sequence that will be run, or null for the model's own limit.</param>
    /// <param name="precision">What an engine will read weights in; 32-bit weights and graphs are written beside it.</param>
    /// <returns>The policy, as version 0 and without probe sequences: no learner has seen it.</returns>
    /// <exception cref="UserErrorException">The checkpoint is broken or not supported, the output folder is taken, or the disk is full.</exception>
    public static PublishedPolicy Import(string huggingFaceFolder, string outputFolder, int? maxSequenceLength = null, Precision precision = Precision.Fp32)
    {
        if (Directory.Exists(outputFolder) && Directory.EnumerateFileSystemEntries(outputFolder).Any())
            throw new UserErrorException($"{outputFolder} is not empty", "a folder that does not exist yet", "Name another output folder, or remove this one");
        using var checkpoint = HuggingFaceCheckpoint.Open(huggingFaceFolder);
        TensorHeader[] tensors = [.. checkpoint.Config.Parameters().Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape))];
        using var folder = new PolicyFolderWriter(outputFolder, new Disk());
        var phase = new PublishPhase(default, Timeout.InfiniteTimeSpan, TimeProvider.System, CancellationToken.None);
        folder.Begin();
        phase.Run(PublishPhase.Weights, _ => folder.WriteWeights(PublishedPolicy.WeightsFile, tensors, index => Pieces(checkpoint, tensors[index])));
        if (precision != Precision.Fp32) phase.Run(PublishPhase.Precision, token => folder.WriteReduced(new ReducedLayout(checkpoint.Config, precision), (name, start, destination) => checkpoint.CopyTo(name, destination, start), token));
        var files = ModelFiles.Of(checkpoint.Config, huggingFaceFolder, SafetensorsWriter.FileOffsets(tensors), maxSequenceLength, precision);
        foreach (var file in files) phase.Run(PublishPhase.Links, token => folder.Place(file, earlier: null, token));
        return phase.Run(PublishPhase.Manifest, token => folder.Finish(default, [], token));
    }

    private static IEnumerable<ReadOnlyMemory<byte>> Pieces(HuggingFaceCheckpoint checkpoint, TensorHeader tensor)
    {
        var elements = tensor.Bytes / sizeof(float);
        var piece = new float[Math.Min(elements, PieceElements)];
        var bytes = new byte[piece.Length * sizeof(float)];
        for (long start = 0; start < elements; start += piece.Length)
        {
            var count = (int)Math.Min(piece.Length, elements - start);
            checkpoint.CopyTo(tensor.Name, piece.AsSpan(0, count), start);
            MemoryMarshal.AsBytes(piece.AsSpan(0, count)).CopyTo(bytes);
            yield return bytes.AsMemory(0, count * sizeof(float));
        }
    }
}
