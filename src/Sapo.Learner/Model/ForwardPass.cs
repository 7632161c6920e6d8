using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What one layer keeps for the backward pass.</summary>
internal sealed record LayerState(AttentionState Attention, FeedForwardState FeedForward);

/// <summary>One forward pass over one micro-batch: owns everything the backward pass needs, freed layer by layer as that proceeds.</summary>
internal sealed class ForwardPass(PackedTokens batch, RotaryEmbedding rotary) : IDisposable
{
    private readonly List<LayerState> _layers = [];
    private Tensor? _headInput, _inverseTemperatures;

    /// <summary>The micro-batch; not owned.</summary>
    public PackedTokens Batch { get; } = batch;

    /// <summary>Its rotations.</summary>
    public RotaryEmbedding Rotary { get; } = rotary;

    /// <summary>State of each layer; empty if the pass was not kept.</summary>
    public IReadOnlyList<LayerState> Layers => _layers;

    /// <summary>The final norm, over the predicting tokens.</summary>
    public NormState FinalNorm { get; private set; }

    /// <summary>[M, hidden]: normalized hidden states divided by temperature.</summary>
    public Tensor HeadInput => _headInput!;

    /// <summary>[M, 1].</summary>
    public Tensor InverseTemperatures => _inverseTemperatures!;

    /// <summary>What the head keeps for its backward pass.</summary>
    public List<Tensor> HeadDistributions { get; } = [];

    /// <summary>Log-probs and entropies, if the head was run.</summary>
    public HeadResult? Values { get; set; }

    /// <summary>Takes over a layer's state.</summary>
    public void Keep(LayerState state)
    {
        foreach (var held in Tensors(state)) held.DetachFromDisposeScope();
        _layers.Add(state);
    }

    /// <summary>Takes over the final norm and computes the head's input.</summary>
    public void SetHead(NormState finalNorm, Tensor weight, Tensor inverseTemperatures)
    {
        using var scope = NewDisposeScope();
        finalNorm.Normalized.DetachFromDisposeScope();
        finalNorm.InverseRoot.DetachFromDisposeScope();
        FinalNorm = finalNorm;
        _headInput = RmsNorm.Scale(finalNorm, weight).mul_(inverseTemperatures).DetachFromDisposeScope();
        _inverseTemperatures = inverseTemperatures.DetachFromDisposeScope();
    }

    /// <summary>
    /// The load-balance loss of qwen3_moe: E * sum_e f_e P_e over the tokens of all sparse layers pooled, with f_e the choices of e
    /// per token and P_e its mean probability; and its gradient [experts] with respect to each token's probabilities.
    /// </summary>
    public (double Loss, Tensor Gradient) Balance(MixtureConfig config)
    {
        using var scope = NewDisposeScope();
        var states = _layers.Select(layer => layer.FeedForward.Mixture).OfType<MixtureState>().ToArray();
        double tokens = (double)states.Length * Batch.TokenCount;
        var (chosen, probability) = (new double[config.Experts], new double[config.Experts]);
        foreach (var state in states)
        {
            foreach (var expert in state.Experts) chosen[expert.Expert] += expert.Tokens.shape[0] / tokens;
            var sums = HostArrays.Double(state.Probabilities.sum(dim: 0));
            for (var expert = 0; expert < config.Experts; expert++) probability[expert] += sums[expert] / tokens;
        }
        var loss = config.Experts * chosen.Zip(probability, (f, p) => f * p).Sum();
        var gradient = tensor(Array.ConvertAll(chosen, f => config.Experts * f / tokens), device: HeadInput.device).to_type(HeadInput.dtype);
        return (loss, gradient.MoveToOuterDisposeScope());
    }

    /// <summary>Frees a layer's state.</summary>
    public void Release(int layer)
    {
        foreach (var held in Tensors(_layers[layer])) held.Dispose();
    }

    /// <inheritdoc />
    public void Dispose()
    {
        for (var layer = 0; layer < _layers.Count; layer++) Release(layer);
        Rotary.Dispose();
        FinalNorm.Normalized?.Dispose();
        FinalNorm.InverseRoot?.Dispose();
        foreach (var kept in HeadDistributions) kept.Dispose();
        _headInput?.Dispose();
        _inverseTemperatures?.Dispose();
    }

    private static IEnumerable<Tensor> Tensors(LayerState state) => Attention.Tensors(state.Attention).Concat(state.FeedForward.Tensors());
}
