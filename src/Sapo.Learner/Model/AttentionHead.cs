// One head of a block: a key head of one group, with the R query heads that share it and the group's G rows.
//
//   scores = q k^T        p = softmax(scores)        output = p v
// and backward, with o = dL/doutput:
//   dv += p^T o           ds = p * (o v^T - sum(p * o v^T))        dk += ds^T q        dq = ds k
//
// against the row's own keys and, before them in a row of scores, against the prefix, which all rows see. Shapes are as in
// BlockAttention: the rows of a tile [G, t*R, D] are the same memory as [G*t*R, D], the form in which they meet the prefix [P, D].
using Sapo.Learner.Batches;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>A tile with what is added to its scores.</summary>
/// <param name="Tile">The tile.</param>
/// <param name="Own">See <see cref="SequenceBlock.OwnMask"/>.</param>
/// <param name="Prefix">See <see cref="SequenceBlock.PrefixMask"/>; null where every row sees the whole prefix.</param>
/// <param name="KeyHeads">Heads of a group.</param>
internal sealed record MaskedTile(ScoreTile Tile, Tensor Own, Tensor? Prefix, int KeyHeads);

/// <summary>Views of one head; they belong to the dispose scope that it is made in.</summary>
internal sealed class AttentionHead
{
    private readonly int _index, _rows, _repeats;
    private readonly Tensor _queries, _keys, _values;
    private readonly Tensor? _prefixKeys, _prefixValues;

    /// <summary>The views.</summary>
    /// <param name="state">The block.</param>
    /// <param name="prefix">Its prefix block, or null.</param>
    /// <param name="index">Which head: group * key heads + key head.</param>
    /// <param name="repeats">Query heads per key head.</param>
    public AttentionHead(BlockState state, BlockState? prefix, int index, int repeats)
    {
        (_index, _rows, _repeats) = (index, state.Block.RowsPerGroup, repeats);
        (_queries, _keys, _values) = (Of(state.Queries), Of(state.Keys), Of(state.Values));
        (_prefixKeys, _prefixValues) = (prefix?.Keys.select(0, index), prefix?.Values.select(0, index));
    }

    /// <summary>This head's part of batches [gKG, ...].</summary>
    public Tensor Of(Tensor batches) => batches.narrow(0, (long)_index * _rows, _rows);

    /// <summary>A tile's part of this head's rows [G, T*R, D].</summary>
    public Tensor RowsOf(Tensor rows, MaskedTile at) => rows.narrow(1, (long)at.Tile.First * _repeats, (long)at.Tile.Count * _repeats);

    /// <summary>[G, t*R, P+k]: softmax over the prefix and the row's own tokens.</summary>
    public Tensor Probabilities(MaskedTile at)
    {
        using var scope = NewDisposeScope();
        var queries = RowsOf(_queries, at).contiguous();
        var scores = queries.bmm(Seen(_keys, at).transpose(1, 2));
        scores.narrow(2, at.Tile.KeyCount - at.Own.shape[2], at.Own.shape[2]).add_(at.Own);
        if (_prefixKeys is not null) scores = Beside(PrefixScores(queries, at), scores);
        return scores.softmax(-1).MoveToOuterDisposeScope();
    }

    /// <summary>[G, t*R, D]: the output.</summary>
    public Tensor Attend(MaskedTile at, Tensor probabilities)
    {
        using var scope = NewDisposeScope();
        var output = OwnPart(probabilities, at).bmm(Seen(_values, at));
        if (_prefixValues is not null) Flat(output).addmm_(PrefixPart(probabilities, at), _prefixValues);
        return output.MoveToOuterDisposeScope();
    }

    /// <summary>Adds a tile's part to the keys' and values' gradients and returns dL/dqueries [G, t*R, D], of the scaled ones.</summary>
    /// <param name="at">The tile.</param>
    /// <param name="probabilities">From the forward pass.</param>
    /// <param name="outer">[G, t*R, D]: dL/doutput, contiguous.</param>
    /// <param name="own">Of this head.</param>
    /// <param name="ofPrefix">Of its prefix, where there is one.</param>
    public Tensor Backward(MaskedTile at, Tensor probabilities, Tensor outer, KeyValueGradient own, KeyValueGradient? ofPrefix)
    {
        using var scope = NewDisposeScope();
        var queries = RowsOf(_queries, at).contiguous();
        own.AddValues(OwnPart(probabilities, at).transpose(1, 2), outer, at.Tile.FirstKey);
        var scores = outer.bmm(Seen(_values, at).transpose(1, 2));
        if (_prefixValues is not null)
        {
            ofPrefix!.Values.select(0, 0).addmm_(PrefixPart(probabilities, at).t(), Flat(outer));
            scores = Beside(Flat(outer).mm(_prefixValues.t()), scores);
        }
        scores.mul_(probabilities);
        scores.addcmul_(probabilities, scores.sum(-1, keepdim: true), -1); // the derivative of softmax
        own.AddKeys(OwnPart(scores, at).transpose(1, 2), queries, at.Tile.FirstKey);
        var gradient = OwnPart(scores, at).bmm(Seen(_keys, at));
        if (_prefixKeys is not null)
        {
            ofPrefix!.Keys.select(0, 0).addmm_(PrefixPart(scores, at).t(), Flat(queries));
            Flat(gradient).addmm_(PrefixPart(scores, at), _prefixKeys);
        }
        return gradient.MoveToOuterDisposeScope();
    }

    /// <summary>[G*t*R, P].</summary>
    private Tensor PrefixScores(Tensor queries, MaskedTile at)
    {
        using var scope = NewDisposeScope();
        var scores = Flat(queries).mm(_prefixKeys!.t());
        if (at.Prefix is { } mask)
        {
            var ofGroup = mask.select(0, _index / at.KeyHeads); // [1, 1, queries or 1, 1, P]
            var rows = ofGroup.shape[2] == 1 ? ofGroup : ofGroup.narrow(2, at.Tile.First, at.Tile.Count);
            scores.view(1, _rows, at.Tile.Count, _repeats, scores.shape[1]).add_(rows);
        }
        return scores.MoveToOuterDisposeScope();
    }

    private static Tensor Seen(Tensor keys, MaskedTile at) => keys.narrow(1, at.Tile.FirstKey, at.Tile.KeyCount);

    private static Tensor Flat(Tensor rows) => rows.view(-1, rows.shape[2]);

    private static Tensor Beside(Tensor toPrefix, Tensor toOwn) => cat([toPrefix.view(toOwn.shape[0], toOwn.shape[1], -1), toOwn], dim: 2);

    private static Tensor OwnPart(Tensor scores, MaskedTile at) => scores.narrow(2, scores.shape[2] - at.Tile.KeyCount, at.Tile.KeyCount);

    /// <summary>[G*t*R, P].</summary>
    private static Tensor PrefixPart(Tensor scores, MaskedTile at) => scores.view(-1, scores.shape[2]).narrow(1, 0, scores.shape[2] - at.Tile.KeyCount);
}
