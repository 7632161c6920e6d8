// The policy that a KL penalty or a preference loss measures the distance from. Three kinds, by what they cost:
//
//   as it was at a moment     a copy of what is trained: all weights, or with an adapter A and B alone
//   the base of an adapter    nothing: the same weights with the adapter left out
//   another folder            its weights
//
// None of them has gradients or moments.
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Learner.Model;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>A frozen policy beside the trained one, which must outlive it.</summary>
internal sealed class ReferencePolicy : IDisposable
{
    private ReferencePolicy(ModelConfig config, PolicyWeights weights, FlatParameters? own, FlatParameters? copied) =>
        (Model, Own, Copied) = (new DecoderModel(config, weights), own, copied);

    /// <summary>Computes its log-probs.</summary>
    public DecoderModel Model { get; }

    /// <summary>The copy of what was trained, which a checkpoint must hold; null where the weights can be had again.</summary>
    public FlatParameters? Copied { get; }

    private FlatParameters? Own { get; }

    /// <summary>The policy as it is now.</summary>
    public static ReferencePolicy CopyOf(ModelConfig config, PolicyWeights policy)
    {
        var values = policy.Trained.Values;
        if (policy.Adapter is { } adapter)
        {
            var frozen = adapter.FrozenCopy(config);
            return new ReferencePolicy(config, new PolicyWeights(policy.Checkpoint, frozen, policy.Compute), frozen.Parameters, frozen.Parameters);
        }
        var copy = new FlatParameters(config, values.dtype, values.device, frozen: true);
        copy.Values.copy_(values);
        return new ReferencePolicy(config, new PolicyWeights(copy, compute: policy.Compute), copy, copy);
    }

    /// <summary>An adapted policy's base, its adapter left out.</summary>
    public static ReferencePolicy BaseOf(ModelConfig config, PolicyWeights policy) => new(config, new PolicyWeights(policy.Checkpoint, compute: policy.Compute), null, null);

    /// <summary>The policy of a Hugging Face folder; its architecture may be another one.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="policy">The trained model, whose vocabulary must be the same.</param>
    /// <param name="compute">How it is computed.</param>
    /// <param name="device">Where its weights go.</param>
    /// <exception cref="UserErrorException">The folder is broken, not supported, or of another vocabulary.</exception>
    public static ReferencePolicy Load(string folder, ModelConfig policy, ComputeOptions compute, Device device)
    {
        using var checkpoint = HuggingFaceCheckpoint.Open(folder);
        if (checkpoint.Config.VocabSize != policy.VocabSize)
            throw new UserErrorException($"The reference policy {folder} has a vocabulary of {checkpoint.Config.VocabSize}", $"{policy.VocabSize}, as the trained model", "Name a model with the same tokens");
        var weights = new FlatParameters(checkpoint.Config, ScalarType.Float32, device, frozen: true);
        try
        {
            weights.Load(checkpoint);
            return new ReferencePolicy(checkpoint.Config, new PolicyWeights(weights, compute: compute), weights, null);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Takes over the policy as it is now, where this reference is a copy.</summary>
    public void Renew(PolicyWeights policy) => Copied?.Values.copy_(policy.Trained.Values);

    /// <inheritdoc />
    public void Dispose() => Own?.Dispose();
}
