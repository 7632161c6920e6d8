// A learner's state as one safetensors file: what is trained (all weights, or an adapter's), both moments and, where it is a copy,
// the reference policy, per parameter, and the counts. One file, written atomically: whenever the process stops, a whole state is there. Everything is stored as it is in memory, so a restored
// learner goes on bit for bit.
using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Safetensors;
using Sapo.Learner.Model;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>Writes and reads <c>learner.safetensors</c>.</summary>
internal static class LearnerState
{
    /// <summary>The file's name within a checkpoint folder.</summary>
    public const string FileName = "learner.safetensors";

    private const string First = "first_moment.", Second = "second_moment.", Reference = "reference.", Counts = "counts", ObjectivePrefix = "objective.";

    /// <summary>Writes the state.</summary>
    public static void Save(string folder, FlatParameters parameters, FlatParameters? reference, ParameterUpdate update, long version, long batches, IReadOnlyDictionary<string, double> objective)
    {
        using var scope = NewDisposeScope();
        Directory.CreateDirectory(folder);
        var tensors = new List<WeightTensor>();
        foreach (var (prefix, buffer) in Buffers(parameters, reference, update))
            tensors.AddRange(WeightTensors(prefix, parameters, buffer.cpu()));
        tensors.Add(Scalar(Counts, WeightType.I64, [version, batches, update.Optimizer.Steps, update.Skipped, update.SkippedInARow]));
        tensors.AddRange(objective.Select(pair => Scalar(ObjectivePrefix + pair.Key, WeightType.F64, [pair.Value])));
        AtomicFile.Write(Path.Combine(folder, FileName), stream => SafetensorsWriter.Write(stream, tensors));
    }

    /// <summary>Reads the state back.</summary>
    /// <returns>Version, rollout batches learned from, and the objective's state.</returns>
    /// <exception cref="UserErrorException">The file is missing, broken or of another model.</exception>
    public static (long Version, long Batches, IReadOnlyDictionary<string, double> Objective) Restore(string folder, FlatParameters parameters, FlatParameters? reference, ParameterUpdate update)
    {
        using var scope = NewDisposeScope();
        using var file = Open(folder);
        foreach (var (prefix, buffer) in Buffers(parameters, reference, update))
            foreach (var slot in parameters.InCheckpointOrder) Copy(file, Find(file, prefix + slot.Name, WeightType.F32, slot.Shape), buffer.narrow(0, slot.Offset, slot.Count));
        var counts = MemoryMarshal.Cast<byte, long>(file.Read(Find(file, Counts, WeightType.I64, [5])));
        (update.Optimizer.Steps, update.Skipped, update.SkippedInARow) = (counts[2], counts[3], counts[4]);
        var objective = file.Entries.Where(entry => entry.Name.StartsWith(ObjectivePrefix, StringComparison.Ordinal))
            .ToDictionary(entry => entry.Name[ObjectivePrefix.Length..], entry => MemoryMarshal.Read<double>(file.Read(entry)), StringComparer.Ordinal);
        return (counts[0], counts[1], objective);
    }

    private static SafetensorsFile Open(string folder)
    {
        try
        {
            return SafetensorsFile.Open(Path.Combine(folder, FileName));
        }
        catch (UserErrorException broken)
        {
            throw new UserErrorException(broken.Found, "a learner's state", $"Remove {folder} to go on from the checkpoint before it", broken);
        }
    }

    /// <summary>Every checkpoint tensor as a view of a flat Float32 buffer on the CPU.</summary>
    public static IEnumerable<WeightTensor> WeightTensors(string prefix, FlatParameters parameters, Tensor buffer)
    {
        foreach (var slot in parameters.InCheckpointOrder)
            yield return new WeightTensor(prefix + slot.Name, WeightType.F32, slot.Shape, NativeMemoryView.Of(buffer, slot.Offset, slot.Count));
    }

    private static IEnumerable<(string Prefix, Tensor Buffer)> Buffers(FlatParameters parameters, FlatParameters? reference, ParameterUpdate update) =>
        [("", parameters.Values), (First, update.Optimizer.FirstMoment), (Second, update.Optimizer.SecondMoment), .. reference is null ? Array.Empty<(string, Tensor)>() : [(Reference, reference.Values)]];

    /// <summary>Copies a tensor of a file, a piece at a time: one may be larger than a span can be.</summary>
    private static void Copy(SafetensorsFile file, SafetensorsEntry entry, Tensor destination)
    {
        const int Piece = 1 << 24; // elements
        for (long first = 0; first < destination.shape[0]; first += Piece)
        {
            using var scope = NewDisposeScope();
            var count = (int)Math.Min(Piece, destination.shape[0] - first);
            destination.narrow(0, first, count).copy_(tensor(MemoryMarshal.Cast<byte, float>(file.Read(entry, first * sizeof(float), count * sizeof(float))).ToArray()));
        }
    }

    private static WeightTensor Scalar<T>(string name, WeightType type, T[] values) where T : unmanaged =>
        new(name, type, [values.Length], MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    private static SafetensorsEntry Find(SafetensorsFile file, string name, WeightType type, long[] shape) =>
        file.Find(name) is { } entry && entry.Type == type && entry.Shape.SequenceEqual(shape)
            ? entry
            : throw new UserErrorException($"{file.Path} has no tensor {name} of type {type} and shape [{string.Join(", ", shape)}]", "the state of a learner of this model", "Resume with the model that the checkpoint was written by");
}
