using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync.Weights;

namespace Sapo.Sync;

/// <summary>
/// What the snapshots of one run must look like: every parameter of the model once, as F32, and always in the order of
/// the first snapshot, because the graphs point into the weights file by offset.
/// </summary>
internal sealed class SnapshotLayout(ModelConfig config)
{
    private readonly Dictionary<string, long[]> _shapes = config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape, StringComparer.Ordinal);
    private string[]? _order;

    /// <summary>The model.</summary>
    public ModelConfig Config => config;

    /// <summary>Checks a snapshot's names, types, shapes and order.</summary>
    /// <returns>The headers of its tensors.</returns>
    /// <exception cref="UserErrorException">The snapshot is not one of this model, or its order differs from the first one's.</exception>
    public TensorHeader[] Check(WeightSnapshot snapshot)
    {
        foreach (var tensor in snapshot.Tensors) Check(tensor);
        string[] names = [.. snapshot.Tensors.Select(tensor => tensor.Name)];
        if (_shapes.Keys.Except(names, StringComparer.Ordinal).FirstOrDefault() is { } missing)
            throw Mismatch($"{missing} is missing in the snapshot of {snapshot.Version}", "every parameter of the model");
        if (names.Length != _shapes.Count) throw Mismatch($"The snapshot of {snapshot.Version} holds {names.Length} tensors", $"each of the {_shapes.Count} parameters once");
        _order ??= names;
        if (!_order.SequenceEqual(names, StringComparer.Ordinal))
            throw Mismatch($"The tensors of {snapshot.Version} are in another order than those of the first version", "the same order, which the graphs' offsets hold for");
        if (snapshot.Probe.SelectMany(sequence => sequence.LogProbs).Any(value => !float.IsFinite(value)))
            throw new UserErrorException($"The probe of {snapshot.Version} holds a log-prob that is not finite", "finite log-probs", "Lower the learning rate, or resume from an earlier checkpoint");
        return [.. snapshot.Tensors.Select(SafetensorsWriter.HeaderOf)];
    }

    /// <summary>A tensor's bytes in pieces, each checked to be finite.</summary>
    /// <exception cref="UserErrorException">A weight is NaN or infinite; the message names it.</exception>
    /// <exception cref="OperationCanceledException">Cancelled between two pieces.</exception>
    public static IEnumerable<ReadOnlyMemory<byte>> Pieces(WeightSnapshot snapshot, int index, CancellationToken cancel)
    {
        var tensor = snapshot.Tensors[index];
        foreach (var (start, piece) in tensor.Data.Pieces())
        {
            cancel.ThrowIfCancellationRequested();
            CheckFinite(snapshot.Version, tensor.Name, piece.Span, start / sizeof(float));
            yield return piece;
        }
    }

    /// <summary>Reads a snapshot's tensors by name.</summary>
    public static ReducedWeights.Reader ReaderOf(WeightSnapshot snapshot)
    {
        var tensors = snapshot.Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        return (name, start, destination) => MemoryMarshal.Cast<byte, float>(tensors[name].Data.Slice(start * sizeof(float), destination.Length * sizeof(float)).Span).CopyTo(destination);
    }

    private void Check(WeightTensor tensor)
    {
        if (!_shapes.TryGetValue(tensor.Name, out var shape)) throw Mismatch($"{tensor.Name} is no parameter of this {config.ModelType} model", "its parameters alone");
        if (tensor.Type != WeightType.F32 || !tensor.Shape.SequenceEqual(shape))
            throw Mismatch($"{tensor.Name} is {tensor.Type} [{string.Join(", ", tensor.Shape)}]", $"F32 [{string.Join(", ", shape)}]");
    }

    private static void CheckFinite(PolicyVersion version, string name, ReadOnlySpan<byte> piece, long firstElement)
    {
        var values = MemoryMarshal.Cast<byte, float>(piece);
        var bad = WeightConversion.IndexOfNonFinite(values);
        if (bad >= 0)
            throw new UserErrorException(
                $"{name} of {version} holds {values[bad]} at element {firstElement + bad}", "finite weights", "The version is not published: lower the learning rate, or resume from an earlier checkpoint");
    }

    private static UserErrorException Mismatch(string found, string expected) => new(found, expected, "Publish snapshots of the model in the run's model folder");
}
