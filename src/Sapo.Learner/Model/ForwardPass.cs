using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What one layer keeps for the backward pass.</summary>
internal sealed record LayerState(AttentionState Attention, FeedForwardState FeedForward);

/// <summary>How a sparse layer's router divided a batch.</summary>
/// <param name="Choices">[experts]: tokens that chose each.</param>
/// <param name="Probabilities">[experts]: sum over the tokens of each one's probability.</param>
internal sealed record RouterLoad(double[] Choices, double[] Probabilities);

/// <summary>One forward pass over one micro-batch: owns everything the backward pass needs, freed layer by layer as that proceeds.</summary>
internal sealed class ForwardPass(PackedTokens batch, RotaryEmbedding rotary) : IDisposable
{
    private readonly List<LayerState?> _layers = [];
    private readonly List<Tensor?> _inputs = [];
    private readonly List<RouterLoad> _loads = [];
    private Tensor? _headInput, _inverseTemperatures;

    /// <summary>The micro-batch; not owned.</summary>
    public PackedTokens Batch { get; } = batch;

    /// <summary>Its rotations.</summary>
    public RotaryEmbedding Rotary { get; } = rotary;

    /// <summary>State of each layer, null where only its input is kept, or nothing; empty if the pass was not kept.</summary>
    public IReadOnlyList<LayerState?> Layers => _layers;

    /// <summary>The final norm, over the predicting tokens.</summary>
    public NormState FinalNorm { get; private set; }

    /// <summary>[M, hidden]: normalized hidden states divided by temperature.</summary>
    public Tensor HeadInput => _headInput!;

    /// <summary>[M, 1].</summary>
    public Tensor InverseTemperatures => _inverseTemperatures!;

    /// <summary>Bytes of the layers' states or inputs that are held for the backward pass.</summary>
    public long KeptBytes => _inputs.OfType<Tensor>().Concat(_layers.OfType<LayerState>().SelectMany(Tensors)).Sum(held => held.numel() * held.ElementSize);

    /// <summary>Takes over a layer's state.</summary>
    public void Keep(LayerState state)
    {
        foreach (var held in Tensors(state)) held.DetachFromDisposeScope();
        Add(state, null, state.FeedForward.Mixture);
    }

    /// <summary>Takes over what entered a layer, from which its state can be computed again.</summary>
    /// <param name="input">[N, hidden].</param>
    /// <param name="mixture">The layer's mixture, whose router's load is noted; null for a dense layer.</param>
    public void KeepInput(Tensor input, MixtureState? mixture) => Add(null, input.DetachFromDisposeScope(), mixture);

    /// <summary>Notes a layer that the backward pass will not come to.</summary>
    public void KeepNothing(MixtureState? mixture) => Add(null, null, mixture);

    /// <summary>What entered a layer, if that is what was kept.</summary>
    public Tensor? InputOf(int layer) => _inputs[layer];

    /// <summary>Takes over the final norm and its output, which becomes the head's input.</summary>
    public void SetHead(NormState finalNorm, Tensor normed, Tensor inverseTemperatures)
    {
        using var scope = NewDisposeScope();
        finalNorm.Normalized.DetachFromDisposeScope();
        finalNorm.InverseRoot.DetachFromDisposeScope();
        FinalNorm = finalNorm;
        _headInput = normed.mul_(inverseTemperatures).DetachFromDisposeScope();
        _inverseTemperatures = inverseTemperatures.DetachFromDisposeScope();
    }

    /// <summary>
    /// The load-balance loss of qwen3_moe: E * sum_e f_e P_e over the tokens of all sparse layers pooled, with f_e the choices of e
    /// per token and P_e its mean probability; and its gradient [experts] with respect to each token's probabilities.
    /// </summary>
    public (double Loss, Tensor Gradient) Balance(MixtureConfig config)
    {
        using var scope = NewDisposeScope();
        double tokens = (double)_loads.Count * Batch.TokenCount;
        double[] chosen = [.. Enumerable.Range(0, config.Experts).Select(expert => _loads.Sum(load => load.Choices[expert]) / tokens)];
        var probability = Enumerable.Range(0, config.Experts).Select(expert => _loads.Sum(load => load.Probabilities[expert]) / tokens);
        var loss = config.Experts * chosen.Zip(probability, (f, p) => f * p).Sum();
        var gradient = tensor(Array.ConvertAll(chosen, f => config.Experts * f / tokens), device: HeadInput.device).to_type(HeadInput.dtype);
        return (loss, gradient.MoveToOuterDisposeScope());
    }

    /// <summary>Frees a layer's state.</summary>
    public void Release(int layer)
    {
        _inputs[layer]?.Dispose();
        if (_layers[layer] is { } state)
            foreach (var held in Tensors(state)) held.Dispose();
    }

    /// <inheritdoc />
    public void Dispose()
    {
        for (var layer = 0; layer < _layers.Count; layer++) Release(layer);
        Rotary.Dispose();
        FinalNorm.Normalized?.Dispose();
        FinalNorm.InverseRoot?.Dispose();
        _headInput?.Dispose();
        _inverseTemperatures?.Dispose();
    }

    private void Add(LayerState? state, Tensor? input, MixtureState? mixture)
    {
        _layers.Add(state);
        _inputs.Add(input);
        if (mixture is not null) _loads.Add(mixture.Load());
    }

    private static IEnumerable<Tensor> Tensors(LayerState state) => Attention.Tensors(state.Attention).Concat(state.FeedForward.Tensors());
}
