// Attention of one layer on packed tokens: norm, one product for queries, keys and values, head norms (qwen3), rotation,
// block attention, output product added to the residual stream. Backward in the opposite order.
using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What attention keeps from its forward pass.</summary>
internal sealed record AttentionState(NormState Norm, NormState? HeadNorm, IReadOnlyList<BlockState> Blocks, Tensor Output);

/// <summary>The attention half of a layer.</summary>
internal sealed class Attention
{
    private readonly ModelConfig _config;
    private readonly Parameter _norm;
    private readonly Parameter? _queryNorm, _keyNorm;
    private readonly Linear _input, _output;
    private readonly BlockAttention _attend;
    private readonly int _turnedHeads;

    /// <summary>Binds the parameters of one layer.</summary>
    public Attention(ModelConfig config, PolicyWeights weights, int layer)
    {
        var prefix = $"model.layers.{layer}.";
        var attention = prefix + "self_attn.";
        _config = config;
        _norm = weights[prefix + "input_layernorm.weight"];
        _input = weights.Linear(attention + "q_proj", attention + "k_proj", attention + "v_proj");
        _output = weights.Linear(attention + "o_proj");
        _queryNorm = weights.Find(attention + "q_norm.weight");
        _keyNorm = weights.Find(attention + "k_norm.weight");
        _attend = new BlockAttention(config, config.SlidingWindows[layer]);
        _turnedHeads = config.HeadCount + config.KeyValueHeadCount;
    }

    /// <summary>x + attention(norm(x)).</summary>
    /// <param name="x">[N, hidden].</param>
    /// <param name="blocks">The rectangles.</param>
    /// <param name="rotary">The tokens' rotations.</param>
    /// <param name="keepProbabilities">False: the backward pass computes them again.</param>
    public (Tensor Sum, AttentionState State) Forward(Tensor x, IReadOnlyList<SequenceBlock> blocks, RotaryEmbedding rotary, bool keepProbabilities)
    {
        using var scope = NewDisposeScope();
        var (normed, norm) = RmsNorm.Forward(x, _norm.Value, _config.RmsNormEpsilon);
        var projected = _input.Forward(normed).view(x.shape[0], _turnedHeads + _config.KeyValueHeadCount, _config.HeadSize);
        var heads = projected.narrow(1, 0, _turnedHeads);
        NormState? headNorm = null;
        if (_queryNorm is not null)
        {
            (heads, headNorm) = RmsNorm.Forward(heads, HeadNormWeights(), _config.RmsNormEpsilon);
        }
        var (output, states) = Attend(rotary.Turn(heads), projected.narrow(1, _turnedHeads, _config.KeyValueHeadCount), blocks, keepProbabilities);
        var sum = _output.ForwardAddedTo(x, output);
        foreach (var kept in Tensors(norm, headNorm, states, output)) kept.MoveToOuterDisposeScope();
        return (sum.MoveToOuterDisposeScope(), new AttentionState(norm, headNorm, states, output));
    }

    /// <summary>Adds to the gradients of this half's parameters and to the residual stream's gradient.</summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="rotary">The tokens' rotations.</param>
    /// <param name="residual">[N, hidden] dL/dsum on the way in, dL/dx on the way out.</param>
    public void Backward(AttentionState state, RotaryEmbedding rotary, Tensor residual)
    {
        using var scope = NewDisposeScope();
        var gradient = AttendBackward(state.Blocks, _output.Backward(state.Output, residual));
        var heads = gradient.narrow(1, 0, _turnedHeads);
        rotary.TurnBack(heads);
        if (state.HeadNorm is { } headNorm)
        {
            var perHead = RmsNorm.Backward(headNorm, HeadNormWeights(), heads);
            _queryNorm!.Gradient?.add_(perHead.narrow(0, 0, _config.HeadCount).sum(dim: 0));
            _keyNorm!.Gradient?.add_(perHead.narrow(0, _config.HeadCount, _config.KeyValueHeadCount).sum(dim: 0));
        }
        var normed = _input.Backward(RmsNorm.Scale(state.Norm, _norm.Value), gradient.view(residual.shape[0], -1));
        var weight = RmsNorm.Backward(state.Norm, _norm.Value, normed, residual);
        _norm.Gradient?.add_(weight);
    }

    /// <summary>The tensors a state owns.</summary>
    public static IEnumerable<Tensor> Tensors(AttentionState state) => Tensors(state.Norm, state.HeadNorm, state.Blocks, state.Output);

    private static IEnumerable<Tensor> Tensors(NormState norm, NormState? headNorm, IReadOnlyList<BlockState> blocks, Tensor output)
    {
        yield return norm.Normalized;
        yield return norm.InverseRoot;
        yield return output;
        if (headNorm is { } heads)
        {
            yield return heads.Normalized;
            yield return heads.InverseRoot;
        }
        foreach (var block in blocks)
        {
            yield return block.Queries;
            yield return block.Keys;
            yield return block.Values;
            foreach (var probabilities in block.Probabilities) yield return probabilities;
        }
    }

    private (Tensor Output, List<BlockState> States) Attend(Tensor turned, Tensor values, IReadOnlyList<SequenceBlock> blocks, bool keepProbabilities)
    {
        var states = new List<BlockState>();
        var outputs = new List<Tensor>();
        foreach (var block in blocks)
        {
            var (output, state) = _attend.Forward(
                block, turned.narrow(0, block.FirstToken, block.TokenCount), values.narrow(0, block.FirstToken, block.TokenCount), PrefixState(block, states), keepProbabilities);
            outputs.Add(output);
            states.Add(state);
        }
        return (outputs.Count == 1 ? outputs[0] : cat(outputs, dim: 0), states);
    }

    /// <summary>Blocks are visited from the last to the first, so that a prefix is visited after all that saw it.</summary>
    private Tensor AttendBackward(IReadOnlyList<BlockState> states, Tensor outputGradient)
    {
        using var scope = NewDisposeScope();
        var gradients = new Tensor[states.Count];
        var sums = states.ToDictionary(state => state.Block, state => KeyValueGradient.For(state.Keys));
        for (var index = states.Count - 1; index >= 0; index--)
        {
            var state = states[index];
            gradients[index] = _attend.Backward(
                state, PrefixState(state.Block, states), outputGradient.narrow(0, state.Block.FirstToken, state.Block.TokenCount), sums[state.Block],
                state.Block.Prefix is { } prefix ? sums[prefix] : null);
        }
        foreach (var sum in sums.Values) sum.Dispose();
        return (gradients.Length == 1 ? gradients[0] : cat(gradients, dim: 0)).MoveToOuterDisposeScope();
    }

    private static BlockState? PrefixState(SequenceBlock block, IEnumerable<BlockState> states) =>
        block.Prefix is null ? null : states.First(state => ReferenceEquals(state.Block, block.Prefix));

    /// <summary>[query heads + key heads, D].</summary>
    private Tensor HeadNormWeights()
    {
        using var scope = NewDisposeScope();
        return cat([_queryNorm!.Value.expand(_config.HeadCount, -1), _keyNorm!.Value.expand(_config.KeyValueHeadCount, -1)], dim: 0).MoveToOuterDisposeScope();
    }
}
