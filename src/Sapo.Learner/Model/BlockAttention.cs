// Attention of one block: heads are laid out as batches and given to the cores one by one; see AttentionHead for what is done
// with each. What a head works on, tile by tile of queries, stays in a core's cache.
//
// Legend: g groups, G rows per group, K key heads, R query heads per key head, T width, P prefix width, D head size;
// a head is one key head of one group, gK of them in all, and a tile has t queries of each row and k of the row's keys.
//   queries  [gKG, T*R, D], of a head [G, T*R, D]
//   keys, values  [gKG, T, D]               prefix keys, values  [gK, P, D]: never expanded to G
using Sapo.Core.Models;
using Sapo.Learner.Batches;
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>What one block keeps from its forward pass; its prefix block's state lends its keys and values.</summary>
/// <param name="Block">The layout.</param>
/// <param name="Queries">[gKG, T*R, D], scaled.</param>
/// <param name="Keys">[gKG, T, D].</param>
/// <param name="Values">[gKG, T, D].</param>
/// <param name="Probabilities">Of each head's tiles [G, t*R, P+k], head by head; empty: the backward pass computes them again.</param>
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
        var tiles = Tiles(block, turned);
        var kept = new Tensor[keepProbabilities ? HeadsOf(block) * tiles.Length : 0];
        var state = new BlockState(
            block,
            ToBatches(block, slots.narrow(1, 0, config.HeadCount), _repeats, _scale).MoveToOuterDisposeScope(),
            ToBatches(block, slots.narrow(1, config.HeadCount, _keyHeads), 1).MoveToOuterDisposeScope(),
            ToBatches(block, block.ToSlots(values), 1).MoveToOuterDisposeScope(),
            kept);
        var output = state.Queries.empty_like();
        ForHeads(state, prefix, (head, index) =>
        {
            var ofHead = head.Of(output);
            for (var tile = 0; tile < tiles.Length; tile++)
            {
                using var tileScope = NewDisposeScope();
                var probabilities = head.Probabilities(tiles[tile]);
                head.RowsOf(ofHead, tiles[tile]).copy_(head.Attend(tiles[tile], probabilities));
                if (keepProbabilities) kept[index * tiles.Length + tile] = probabilities.DetachFromDisposeScope();
            }
        });
        scope.Attach(kept.AsEnumerable<IDisposable>());
        foreach (var probabilities in kept) probabilities.MoveToOuterDisposeScope();
        return (block.FromSlots(FromBatches(block, output)).MoveToOuterDisposeScope(), state);
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
        var outer = ToBatches(block, block.GradientToSlots(outputGradient).view(block.SlotCount, config.HeadCount, _size), _repeats);
        var tiles = Tiles(block, outputGradient);
        var queries = state.Queries.empty_like();
        ForHeads(state, prefix, (head, index) =>
        {
            var (ofHead, outerOfHead, sums, ofItsPrefix) = (head.Of(queries), head.Of(outer), own.Of(index, block.RowsPerGroup), ofPrefix?.Of(index, 1));
            for (var tile = 0; tile < tiles.Length; tile++)
            {
                using var tileScope = NewDisposeScope();
                var probabilities = state.Probabilities.Count > 0 ? state.Probabilities[index * tiles.Length + tile] : head.Probabilities(tiles[tile]);
                var gradient = head.Backward(tiles[tile], probabilities, head.RowsOf(outerOfHead, tiles[tile]).contiguous(), sums, ofItsPrefix);
                head.RowsOf(ofHead, tiles[tile]).copy_(gradient).mul_(_scale);
            }
        });
        return Assemble(block, queries, own).MoveToOuterDisposeScope();
    }

    private int HeadsOf(SequenceBlock block) => block.Groups * _keyHeads;

    private void ForHeads(BlockState state, BlockState? prefix, Action<AttentionHead, int> work) => ComputeThreads.Shared.ForEach(HeadsOf(state.Block), index =>
    {
        using var scope = NewDisposeScope();
        work(new AttentionHead(state, prefix, index, _repeats), index);
    });

    /// <summary>The tiles with their masks, which are made once for all heads.</summary>
    private MaskedTile[] Tiles(SequenceBlock block, Tensor like)
    {
        var prefix = block.Prefix is null ? null : block.PrefixMask(window, like.dtype);
        return [.. block.Tiles(window).Select(tile => new MaskedTile(tile, block.OwnMask(tile, _repeats, window, like.dtype), prefix, _keyHeads))];
    }

    private Tensor Assemble(SequenceBlock block, Tensor queries, KeyValueGradient own)
    {
        using var scope = NewDisposeScope();
        var heads = config.HeadCount;
        var slots = queries.new_empty([block.SlotCount, heads + 2 * _keyHeads, _size]);
        foreach (var (batches, first, repeats) in new[] { (queries, 0, _repeats), (own.Keys, heads, 1), (own.Values, heads + _keyHeads, 1) })
            CopyRows(InBatches(block, slots.narrow(1, first, _keyHeads * repeats), repeats), batches.view(BatchShape(block, repeats)));
        return block.FromSlots(slots).MoveToOuterDisposeScope();
    }

    /// <summary>Slots [slots, heads, D] as batches, times a factor.</summary>
    private Tensor ToBatches(SequenceBlock block, Tensor slots, int repeats, double factor = 1)
    {
        using var scope = NewDisposeScope();
        var batches = slots.new_empty(BatchShape(block, repeats));
        CopyRows(batches, InBatches(block, slots, repeats), factor);
        return batches.view((long)HeadsOf(block) * block.RowsPerGroup, (long)block.Width * repeats, _size).MoveToOuterDisposeScope();
    }

    /// <summary>Query batches as slots [slots, heads * D].</summary>
    private Tensor FromBatches(SequenceBlock block, Tensor batches)
    {
        using var scope = NewDisposeScope();
        var slots = batches.new_empty([block.SlotCount, config.HeadCount, _size]);
        CopyRows(InBatches(block, slots, _repeats), batches.view(BatchShape(block, _repeats)));
        return slots.view(block.SlotCount, -1).MoveToOuterDisposeScope();
    }

    /// <summary>[g, K, G, T, R, D].</summary>
    private long[] BatchShape(SequenceBlock block, int repeats) => [block.Groups, _keyHeads, block.RowsPerGroup, block.Width, repeats, _size];

    /// <summary>A view of slots in the order of batches.</summary>
    private Tensor InBatches(SequenceBlock block, Tensor slots, int repeats) =>
        slots.view(block.Groups, block.RowsPerGroup, block.Width, _keyHeads, repeats, _size).permute(0, 3, 1, 2, 4, 5);

    private static void CopyRows(Tensor to, Tensor from, double factor = 1) => ComputeThreads.Shared.ForRanges(to.shape[3], 16, (first, count) =>
    {
        using var scope = NewDisposeScope();
        var part = to.narrow(3, first, count).copy_(from.narrow(3, first, count));
        if (factor != 1) part.mul_(factor);
    });
}
