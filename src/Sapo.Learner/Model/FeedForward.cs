using Sapo.Core.Models;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What the MLP half keeps from its forward pass: of a dense layer gate and up, of a sparse one the mixture's state.</summary>
internal sealed record FeedForwardState(NormState Norm, Tensor? GateUp, MixtureState? Mixture)
{
    /// <summary>The tensors this state owns.</summary>
    public IEnumerable<Tensor> Tensors() => [Norm.Normalized, Norm.InverseRoot, .. GateUp is null ? Mixture!.Tensors() : [GateUp]];
}

/// <summary>The MLP half of a layer: x + mlp(norm(x)), dense or a mixture of experts.</summary>
internal sealed class FeedForward
{
    private readonly double _epsilon;
    private readonly Parameter _norm;
    private readonly GatedMlp? _dense;
    private readonly MixtureOfExperts? _mixture;

    /// <summary>Binds the parameters of one layer.</summary>
    public FeedForward(ModelConfig config, PolicyWeights weights, int layer)
    {
        var prefix = $"model.layers.{layer}.";
        _epsilon = config.RmsNormEpsilon;
        _norm = weights[prefix + "post_attention_layernorm.weight"];
        if (config.Mixture is { } mixture && mixture.SparseLayers[layer]) _mixture = new MixtureOfExperts(mixture, weights, prefix + "mlp.");
        else _dense = new GatedMlp(weights, prefix + "mlp.");
    }

    /// <summary>x + mlp(norm(x)), x [N, hidden].</summary>
    public (Tensor Sum, FeedForwardState State) Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var (normed, norm) = RmsNorm.Forward(x, _norm.Value, _epsilon);
        Tensor sum;
        FeedForwardState state;
        if (_mixture is not null)
        {
            (sum, var mixture) = _mixture.ForwardAddedTo(x, normed);
            state = new FeedForwardState(norm, null, mixture);
        }
        else
        {
            state = new FeedForwardState(norm, _dense!.GateUp(normed), null);
            sum = _dense.ForwardAddedTo(x, state.GateUp!);
        }
        foreach (var kept in state.Tensors()) kept.MoveToOuterDisposeScope();
        return (sum.MoveToOuterDisposeScope(), state);
    }

    /// <summary>Adds to the gradients of this half's parameters and to the residual stream's gradient.</summary>
    /// <param name="state">From the forward pass; used up.</param>
    /// <param name="residual">[N, hidden] dL/dsum on the way in, dL/dx on the way out.</param>
    /// <param name="balanceGradient">[experts]: see <see cref="MixtureOfExperts.Backward"/>.</param>
    public void Backward(FeedForwardState state, Tensor residual, Tensor? balanceGradient)
    {
        using var scope = NewDisposeScope();
        var normed = RmsNorm.Scale(state.Norm, _norm.Value);
        var normedGradient = state.Mixture is { } mixture
            ? _mixture!.Backward(mixture, normed, residual, balanceGradient)
            : _dense!.Backward(normed, state.GateUp!, residual);
        var weight = RmsNorm.Backward(state.Norm, _norm.Value, normedGradient, residual);
        _norm.Gradient?.add_(weight);
    }
}
