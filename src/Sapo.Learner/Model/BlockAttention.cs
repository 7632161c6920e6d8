// Attention of one block, forward and backward, written out as batched products.
//
// Legend: g groups, G rows per group, K key heads, R query heads per key head, T width, P prefix width, D head size.
//   queries  [gK, G*R*T, D]  the same memory as  [gKG, R*T, D]: one view against the prefix, one against the row's own keys
//   keys, values             [gKG, T, D]
//   prefix keys, values      [gK, P, D]: never expanded to G
//   scores   [gKG, R*T, P+T]: prefix first
using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What one block keeps from its forward pass; its prefix block's state lends its keys and values.</summary>
internal sealed record BlockState(SequenceBlock Block, Tensor Queries, Tensor Keys, Tensor Values, Tensor? Probabilities);

/// <summary>Softmax attention within a block and to its prefix.</summary>
internal sealed class BlockAttention(ModelConfig config, int? window)
{
    private readonly int _keyHeads = config.KeyValueHeadCount, _repeats = config.HeadCount / config.KeyValueHeadCount, _size = config.HeadSize;
    private readonly double _scale = 1 / Math.Sqrt(config.HeadSize);

    /// <summary>Attends.</summary>
    /// <param name="block">The layout.</param>
    /// <param name="turned">[tokens of the block, query heads + key heads, D]: after the rotation.</param>
    /// <param name="values">[tokens of the block, key heads, D].</param>
    /// <param name="prefix">State of the prefix block, where there is one.</param>
    /// <param name="keepProbabilities">False: the backward pass computes them again.</param>
    /// <returns>[tokens of the block, query heads * D], and the state.</returns>
    public (Tensor Output, BlockState State) Forward(SequenceBlock block, Tensor turned, Tensor values, BlockState? prefix, bool keepProbabilities)
    {
        using var scope = NewDisposeScope();
        var slots = block.ToSlots(turned);
        var state = new BlockState(
            block,
            QueriesToBatches(block, slots.narrow(1, 0, config.HeadCount)).mul_(_scale),
            KeysToBatches(block, slots.narrow(1, config.HeadCount, _keyHeads)),
            KeysToBatches(block, block.ToSlots(values)),
            null);
        var probabilities = Probabilities(state, prefix);
        var output = OwnPart(block, probabilities).bmm(state.Values);
        if (prefix is not null) output = Wide(block, output).baddbmm(PrefixPart(block, probabilities), prefix.Values);
        var flat = block.FromSlots(QueriesFromBatches(block, output).reshape(block.SlotCount, config.HeadCount * _size));
        state.Queries.MoveToOuterDisposeScope();
        state.Keys.MoveToOuterDisposeScope();
        state.Values.MoveToOuterDisposeScope();
        if (keepProbabilities) state = state with { Probabilities = probabilities.MoveToOuterDisposeScope() };
        return (flat.MoveToOuterDisposeScope(), state);
    }

    /// <summary>Sends a gradient back.</summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="prefix">State of the prefix block, where there is one.</param>
    /// <param name="outputGradient">[tokens of the block, query heads * D].</param>
    /// <param name="prefixGradient">[gK, P, D] twice: what reaches the prefix's keys and values is added here.</param>
    /// <param name="fromSuffix">What blocks behind this one added for its own keys and values, or null.</param>
    /// <returns>[tokens of the block, query heads + 2 key heads, D]: of turned queries and keys, then values.</returns>
    public Tensor Backward(BlockState state, BlockState? prefix, Tensor outputGradient, KeyValueGradient? prefixGradient, KeyValueGradient? fromSuffix)
    {
        using var scope = NewDisposeScope();
        var block = state.Block;
        var probabilities = state.Probabilities ?? Probabilities(state, prefix);
        var outer = QueriesToBatches(block, block.GradientToSlots(outputGradient).view(block.SlotCount, config.HeadCount, _size));
        var valuesGradient = OwnPart(block, probabilities).transpose(1, 2).bmm(outer);
        var scores = outer.bmm(state.Values.transpose(1, 2));
        if (prefix is not null)
        {
            prefixGradient!.AddValues(PrefixPart(block, probabilities).transpose(1, 2), Wide(block, outer));
            var toPrefix = Wide(block, outer).bmm(prefix.Values.transpose(1, 2));
            scores = cat([toPrefix.view(scores.shape[0], scores.shape[1], -1), scores], dim: 2);
        }
        scores.mul_(probabilities);
        scores.addcmul_(probabilities, scores.sum(-1, keepdim: true), -1); // the derivative of softmax
        var queriesGradient = OwnPart(block, scores).bmm(state.Keys);
        if (prefix is not null)
        {
            queriesGradient = Wide(block, queriesGradient).baddbmm(PrefixPart(block, scores), prefix.Keys);
            prefixGradient!.AddKeys(PrefixPart(block, scores).transpose(1, 2), Wide(block, state.Queries));
        }
        queriesGradient.mul_(_scale);
        var keysGradient = OwnPart(block, scores).transpose(1, 2).bmm(state.Queries);
        if (fromSuffix is not null)
        {
            keysGradient.add_(fromSuffix.Keys);
            valuesGradient.add_(fromSuffix.Values);
        }
        return Assemble(block, queriesGradient, keysGradient, valuesGradient).MoveToOuterDisposeScope();
    }

    /// <summary>[gKG, R*T, P+T]: softmax over the prefix and the row's own tokens.</summary>
    private Tensor Probabilities(BlockState state, BlockState? prefix)
    {
        using var scope = NewDisposeScope();
        var block = state.Block;
        var scores = block.OwnMask(_repeats, window, state.Queries.dtype).baddbmm(state.Queries, state.Keys.transpose(1, 2));
        if (prefix is not null)
        {
            var toPrefix = Wide(block, state.Queries).bmm(prefix.Keys.transpose(1, 2));
            if (block.PrefixMask(window, toPrefix.dtype) is { } mask)
                toPrefix.view(block.Groups, _keyHeads, (long)block.RowsPerGroup * _repeats, block.Width, block.Prefix!.Width).add_(mask);
            scores = cat([toPrefix.view(scores.shape[0], scores.shape[1], -1), scores], dim: 2);
        }
        return scores.softmax(-1).MoveToOuterDisposeScope();
    }

    private Tensor Assemble(SequenceBlock block, Tensor queries, Tensor keys, Tensor values)
    {
        using var scope = NewDisposeScope();
        var (g, G, t, heads) = (block.Groups, block.RowsPerGroup, block.Width, config.HeadCount);
        var slots = queries.new_empty([block.SlotCount, heads + 2 * _keyHeads, _size]);
        slots.narrow(1, 0, heads).view(g, G, t, _keyHeads, _repeats, _size).copy_(QueriesFromBatches(block, queries));
        slots.narrow(1, heads, _keyHeads).view(g, G, t, _keyHeads, _size).copy_(KeysFromBatches(block, keys));
        slots.narrow(1, heads + _keyHeads, _keyHeads).view(g, G, t, _keyHeads, _size).copy_(KeysFromBatches(block, values));
        return block.FromSlots(slots).MoveToOuterDisposeScope();
    }

    private Tensor QueriesToBatches(SequenceBlock block, Tensor slots)
    {
        using var scope = NewDisposeScope();
        var ordered = slots.view(block.Groups, block.RowsPerGroup, block.Width, _keyHeads, _repeats, _size).permute(0, 3, 1, 4, 2, 5);
        var batches = ordered.new_empty(ordered.shape).copy_(ordered);
        return batches.view((long)block.Groups * _keyHeads * block.RowsPerGroup, (long)_repeats * block.Width, _size).MoveToOuterDisposeScope();
    }

    private Tensor KeysToBatches(SequenceBlock block, Tensor slots)
    {
        using var scope = NewDisposeScope();
        var ordered = slots.view(block.Groups, block.RowsPerGroup, block.Width, _keyHeads, _size).permute(0, 3, 1, 2, 4);
        var batches = ordered.new_empty(ordered.shape).copy_(ordered);
        return batches.view((long)block.Groups * _keyHeads * block.RowsPerGroup, block.Width, _size).MoveToOuterDisposeScope();
    }

    private Tensor QueriesFromBatches(SequenceBlock block, Tensor batches) =>
        batches.view(block.Groups, _keyHeads, block.RowsPerGroup, _repeats, block.Width, _size).permute(0, 2, 4, 1, 3, 5);

    private Tensor KeysFromBatches(SequenceBlock block, Tensor batches) =>
        batches.view(block.Groups, _keyHeads, block.RowsPerGroup, block.Width, _size).permute(0, 2, 3, 1, 4);

    private Tensor Wide(SequenceBlock block, Tensor queries) => queries.view((long)block.Groups * _keyHeads, (long)block.RowsPerGroup * _repeats * block.Width, _size);

    private static Tensor OwnPart(SequenceBlock block, Tensor scores) => block.Prefix is null ? scores : scores.narrow(2, block.Prefix.Width, block.Width);

    private Tensor PrefixPart(SequenceBlock block, Tensor scores) =>
        scores.view((long)block.Groups * _keyHeads, (long)block.RowsPerGroup * _repeats * block.Width, -1).narrow(2, 0, block.Prefix!.Width);
}
