// Attention of one block, forward and backward, written out as batched products, tile by tile of queries.
//
// Legend: g groups, G rows per group, K key heads, R query heads per key head, T width, P prefix width, D head size;
// a tile has t queries of each row and k of the row's keys.
//   queries  [gKG, T*R, D]   the same memory as  [gK, G*T*R, D]: one view against the row's own keys, one against the prefix
//   keys, values             [gKG, T, D]
//   prefix keys, values      [gK, P, D]: never expanded to G
//   scores of a tile         [gKG, t*R, P+k]: prefix first
using Sapo.Core.Models;
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What one block keeps from its forward pass; its prefix block's state lends its keys and values.</summary>
/// <param name="Block">The layout.</param>
/// <param name="Queries">[gKG, T*R, D], scaled.</param>
/// <param name="Keys">[gKG, T, D].</param>
/// <param name="Values">[gKG, T, D].</param>
/// <param name="Probabilities">Of each tile [gKG, t*R, P+k]; empty: the backward pass computes them again.</param>
internal sealed record BlockState(SequenceBlock Block, Tensor Queries, Tensor Keys, Tensor Values, IReadOnlyList<Tensor> Probabilities);

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
        var kept = new List<Tensor>();
        var state = new BlockState(
            block,
            QueriesToBatches(block, slots.narrow(1, 0, config.HeadCount)).mul_(_scale).MoveToOuterDisposeScope(),
            KeysToBatches(block, slots.narrow(1, config.HeadCount, _keyHeads)).MoveToOuterDisposeScope(),
            KeysToBatches(block, block.ToSlots(values)).MoveToOuterDisposeScope(),
            kept);
        var outputs = new List<Tensor>();
        foreach (var tile in block.Tiles(window))
        {
            var probabilities = Probabilities(state, prefix, tile);
            outputs.Add(Output(state, prefix, tile, probabilities));
            if (keepProbabilities) kept.Add(probabilities.MoveToOuterDisposeScope());
            else probabilities.Dispose();
        }
        var flat = block.FromSlots(QueriesFromBatches(block, Join(outputs)).reshape(block.SlotCount, config.HeadCount * _size));
        return (flat.MoveToOuterDisposeScope(), state);
    }

    /// <summary>Sends a gradient back.</summary>
    /// <param name="state">From the forward pass.</param>
    /// <param name="prefix">State of the prefix block, where there is one.</param>
    /// <param name="outputGradient">[tokens of the block, query heads * D].</param>
    /// <param name="own">dL/dkeys and dL/dvalues of this block: what blocks that see it have added; the block's own part is added.</param>
    /// <param name="ofPrefix">The same of the prefix block, where there is one.</param>
    /// <returns>[tokens of the block, query heads + 2 key heads, D]: of turned queries and keys, then values.</returns>
    public Tensor Backward(BlockState state, BlockState? prefix, Tensor outputGradient, KeyValueGradient own, KeyValueGradient? ofPrefix)
    {
        using var scope = NewDisposeScope();
        var block = state.Block;
        var outer = QueriesToBatches(block, block.GradientToSlots(outputGradient).view(block.SlotCount, config.HeadCount, _size));
        var queries = block.Tiles(window).Select((tile, index) => BackwardTile(state, prefix, (tile, index), outer, own, ofPrefix)).ToArray();
        return Assemble(block, Join(queries).mul_(_scale), own).MoveToOuterDisposeScope();
    }

    /// <summary>Adds a tile's part to the keys' and values' gradients and returns dL/dqueries [gKG, t*R, D], of the scaled ones.</summary>
    private Tensor BackwardTile(BlockState state, BlockState? prefix, (ScoreTile Tile, int Index) at, Tensor outerOfBlock, KeyValueGradient own, KeyValueGradient? ofPrefix)
    {
        using var scope = NewDisposeScope();
        var tile = at.Tile;
        var probabilities = state.Probabilities.Count > 0 ? state.Probabilities[at.Index] : Probabilities(state, prefix, tile);
        var (queries, outer) = (Rows(state.Queries, tile), Rows(outerOfBlock, tile));
        own.AddValues(OwnPart(probabilities, tile).transpose(1, 2), outer, tile.FirstKey);
        var scores = outer.bmm(Seen(state.Values, tile).transpose(1, 2));
        if (prefix is not null)
        {
            ofPrefix!.AddValues(PrefixPart(state.Block, probabilities).transpose(1, 2), Wide(state.Block, outer));
            scores = Beside(Wide(state.Block, outer).bmm(prefix.Values.transpose(1, 2)), scores);
        }
        scores.mul_(probabilities);
        scores.addcmul_(probabilities, scores.sum(-1, keepdim: true), -1); // the derivative of softmax
        own.AddKeys(OwnPart(scores, tile).transpose(1, 2), queries, tile.FirstKey);
        var gradient = OwnPart(scores, tile).bmm(Seen(state.Keys, tile));
        if (prefix is not null)
        {
            ofPrefix!.AddKeys(PrefixPart(state.Block, scores).transpose(1, 2), Wide(state.Block, queries));
            gradient = Wide(state.Block, gradient).baddbmm(PrefixPart(state.Block, scores), prefix.Keys).view(gradient.shape);
        }
        return gradient.MoveToOuterDisposeScope();
    }

    /// <summary>[gKG, t*R, P+k]: softmax over the prefix and the row's own tokens.</summary>
    private Tensor Probabilities(BlockState state, BlockState? prefix, ScoreTile tile)
    {
        using var scope = NewDisposeScope();
        var queries = Rows(state.Queries, tile);
        var scores = queries.bmm(Seen(state.Keys, tile).transpose(1, 2));
        var mask = state.Block.OwnMask(tile, _repeats, window, scores.dtype);
        scores.narrow(2, tile.KeyCount - mask.shape[2], mask.shape[2]).add_(mask);
        if (prefix is not null) scores = Beside(PrefixScores(state.Block, tile, queries, prefix), scores);
        return scores.softmax(-1).MoveToOuterDisposeScope();
    }

    private Tensor PrefixScores(SequenceBlock block, ScoreTile tile, Tensor queries, BlockState prefix)
    {
        using var scope = NewDisposeScope();
        var scores = Wide(block, queries).bmm(prefix.Keys.transpose(1, 2));
        if (block.PrefixMask(window, scores.dtype) is { } mask)
        {
            var rows = mask.shape[3] == 1 ? mask : mask.narrow(3, tile.First, tile.Count);
            scores.view(block.Groups, _keyHeads, block.RowsPerGroup, tile.Count, _repeats, prefix.Block.Width).add_(rows);
        }
        return scores.MoveToOuterDisposeScope();
    }

    private Tensor Output(BlockState state, BlockState? prefix, ScoreTile tile, Tensor probabilities)
    {
        using var scope = NewDisposeScope();
        var output = OwnPart(probabilities, tile).bmm(Seen(state.Values, tile));
        if (prefix is not null) output = Wide(state.Block, output).baddbmm(PrefixPart(state.Block, probabilities), prefix.Values).view(output.shape);
        return output.MoveToOuterDisposeScope();
    }

    private Tensor Assemble(SequenceBlock block, Tensor queries, KeyValueGradient own)
    {
        using var scope = NewDisposeScope();
        var (g, G, t, heads) = (block.Groups, block.RowsPerGroup, block.Width, config.HeadCount);
        var slots = queries.new_empty([block.SlotCount, heads + 2 * _keyHeads, _size]);
        slots.narrow(1, 0, heads).view(g, G, t, _keyHeads, _repeats, _size).copy_(QueriesFromBatches(block, queries));
        slots.narrow(1, heads, _keyHeads).view(g, G, t, _keyHeads, _size).copy_(KeysFromBatches(block, own.Keys));
        slots.narrow(1, heads + _keyHeads, _keyHeads).view(g, G, t, _keyHeads, _size).copy_(KeysFromBatches(block, own.Values));
        return block.FromSlots(slots).MoveToOuterDisposeScope();
    }

    private Tensor QueriesToBatches(SequenceBlock block, Tensor slots)
    {
        using var scope = NewDisposeScope();
        var ordered = slots.view(block.Groups, block.RowsPerGroup, block.Width, _keyHeads, _repeats, _size).permute(0, 3, 1, 2, 4, 5);
        var batches = ordered.new_empty(ordered.shape).copy_(ordered);
        return batches.view((long)block.Groups * _keyHeads * block.RowsPerGroup, (long)block.Width * _repeats, _size).MoveToOuterDisposeScope();
    }

    private Tensor KeysToBatches(SequenceBlock block, Tensor slots)
    {
        using var scope = NewDisposeScope();
        var ordered = slots.view(block.Groups, block.RowsPerGroup, block.Width, _keyHeads, _size).permute(0, 3, 1, 2, 4);
        var batches = ordered.new_empty(ordered.shape).copy_(ordered);
        return batches.view((long)block.Groups * _keyHeads * block.RowsPerGroup, block.Width, _size).MoveToOuterDisposeScope();
    }

    private Tensor QueriesFromBatches(SequenceBlock block, Tensor batches) =>
        batches.view(block.Groups, _keyHeads, block.RowsPerGroup, block.Width, _repeats, _size).permute(0, 2, 3, 1, 4, 5);

    private Tensor KeysFromBatches(SequenceBlock block, Tensor batches) =>
        batches.view(block.Groups, _keyHeads, block.RowsPerGroup, block.Width, _size).permute(0, 2, 3, 1, 4);

    /// <summary>The rows of a tile, contiguous: [gKG, t*R, D].</summary>
    private Tensor Rows(Tensor queries, ScoreTile tile)
    {
        using var scope = NewDisposeScope();
        return queries.narrow(1, (long)tile.First * _repeats, (long)tile.Count * _repeats).contiguous().MoveToOuterDisposeScope();
    }

    private static Tensor Seen(Tensor keys, ScoreTile tile) => keys.narrow(1, tile.FirstKey, tile.KeyCount);

    /// <summary>[gKG, rows, ...] as [gK, G*rows, ...]: all rows of a group against its prefix.</summary>
    private Tensor Wide(SequenceBlock block, Tensor rows) => rows.view((long)block.Groups * _keyHeads, block.RowsPerGroup * rows.shape[1], rows.shape[2]);

    private static Tensor Beside(Tensor toPrefix, Tensor toOwn) => cat([toPrefix.view(toOwn.shape[0], toOwn.shape[1], -1), toOwn], dim: 2);

    private static Tensor OwnPart(Tensor scores, ScoreTile tile) => scores.narrow(2, scores.shape[2] - tile.KeyCount, tile.KeyCount);

    private Tensor PrefixPart(SequenceBlock block, Tensor scores) => Wide(block, scores).narrow(2, 0, block.Prefix!.Width);

    private static Tensor Join(IReadOnlyList<Tensor> tiles) => tiles.Count == 1 ? tiles[0] : cat([.. tiles], dim: 1);
}
