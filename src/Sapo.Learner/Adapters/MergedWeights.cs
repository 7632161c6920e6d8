// A policy's weights as a plain checkpoint, for engines and for files: an adapted matrix is its base plus scaling B A, everything
// else is borrowed from the base. Without an adapter nothing is copied.
using Sapo.Core;
using Sapo.Learner.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Adapters;

/// <summary>Owns the merged copies of the adapted matrices, made when they are first asked for and overwritten after that.</summary>
/// <param name="weights">The policy; not owned.</param>
internal sealed class MergedWeights(PolicyWeights weights) : IDisposable
{
    private const string WeightEnding = ".weight";

    private FlatParameters? _merged;

    /// <summary>Every tensor of the checkpoint, in the order checkpoints are written; valid until the weights change or this is called again.</summary>
    public IReadOnlyList<WeightTensor> Tensors()
    {
        var plain = LearnerState.WeightTensors("", weights.Checkpoint, weights.Checkpoint.Values);
        if (weights.Adapter is not { } adapter) return [.. plain];
        var merged = Merge(adapter);
        var changed = LearnerState.WeightTensors("", merged, merged.Values).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        return [.. plain.Select(tensor => changed.GetValueOrDefault(tensor.Name, tensor))];
    }

    /// <inheritdoc />
    public void Dispose() => _merged?.Dispose();

    private FlatParameters Merge(LowRankAdapter adapter)
    {
        _merged ??= new FlatParameters(
            [.. adapter.Modules.Select(module => (module.Name + WeightEnding, (long[])[module.Outputs, module.Inputs]))], weights.Checkpoint.Values.dtype, weights.Checkpoint.Values.device, frozen: true);
        foreach (var slot in _merged.InCheckpointOrder)
        {
            using var scope = NewDisposeScope();
            adapter.Merge(adapter.Find(slot.Name[..^WeightEnding.Length])!, weights[slot.Name].Value, _merged.Values.narrow(0, slot.Offset, slot.Count).view(slot.Shape));
        }
        return _merged;
    }
}
