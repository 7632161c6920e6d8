// A token is the smallest id whose running sum of probabilities exceeds u times their total. Summing 151,936 nearly
// equal numbers one after the other in 32 bits would move the edges by 20 tokens, so the vocabulary is cut into blocks:
// the block is found among the blocks' sums, then the id within the block, both with running sums in 64 bits. Only the
// blocks' sums touch the whole vocabulary.
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the draw of one id per row by inverse CDF.</summary>
internal sealed class InverseCdf(GraphBuilder graph, int vocabulary)
{
    private const int SmallestBlock = 64, LargestBlock = 1024;
    private readonly int _blockSize = BlockSize(vocabulary);

    /// <summary>Draws.</summary>
    /// <param name="logProbs">Float [B, vocabulary]; -infinity for ids that must not be drawn.</param>
    /// <param name="uniform">Float [B] in [0, 1).</param>
    /// <returns>int64 [B].</returns>
    public Value Draw(Value logProbs, Value uniform)
    {
        var blocks = (vocabulary + _blockSize - 1) / _blockSize;
        var probabilities = graph.Op("Exp", [logProbs]);
        if (vocabulary % _blockSize != 0)
            probabilities = graph.Op("Pad", [probabilities, graph.Integers(0, 0, 0, blocks * _blockSize - vocabulary)]);
        var blocked = graph.Op("Reshape", [probabilities, graph.Integers(0, blocks, _blockSize)]);

        var outer = Cumulate(graph.Op("ReduceSum", [blocked, graph.Integers(2)], ("keepdims", 0)));
        var share = graph.Column(graph.Cast(uniform, ElementType.Double));
        var target = graph.Op("Mul", [share, outer.Total]);
        var block = IndexAbove(outer, target);

        var inner = Cumulate(graph.Op("GatherND", [blocked, block], ("batch_dims", 1)));
        var before = graph.Op("GatherElements", [outer.Before, block], ("axis", 1));
        var within = IndexAbove(inner, graph.Op("Sub", [target, before]));
        var id = graph.Op("Add", [graph.Op("Mul", [block, graph.Scalar((long)_blockSize)]), within]);
        return graph.Op("Squeeze", [id, graph.Integers(1)]);
    }

    // About the vocabulary's root, so that both running sums are short; where it can be, one that divides the vocabulary: then nothing is padded.
    private static int BlockSize(int vocabulary)
    {
        var best = (int)Math.Ceiling(Math.Sqrt(vocabulary));
        return Enumerable.Range(SmallestBlock, LargestBlock - SmallestBlock + 1).Where(size => vocabulary % size == 0).OrderBy(size => Math.Abs(Math.Log((double)size / best)))
            .FirstOrDefault(Math.Max(best, Math.Min(SmallestBlock, vocabulary)));
    }

    // Running sums of non-negative floats [B, n], in doubles: up to and with each element, before it, and [B, 1] the last.
    private (Value Through, Value Before, Value Total) Cumulate(Value weights)
    {
        var wide = graph.Cast(weights, ElementType.Double);
        var through = graph.Op("CumSum", [wide, graph.Scalar(1L)]);
        var before = graph.Op("CumSum", [wide, graph.Scalar(1L)], ("exclusive", 1));
        var total = graph.Op("Slice", [through, graph.Integers(-1), graph.Integers(long.MaxValue), graph.Integers(1)]);
        return (through, before, total);
    }

    // int64 [B, 1]: the first index whose running sum exceeds the target; where rounding leaves none, the last that adds to it.
    private Value IndexAbove((Value Through, Value Before, Value Total) sums, Value target)
    {
        var atOrBelow = graph.CountTrue(graph.Op("LessOrEqual", [sums.Through, target]), axis: 1);
        var lastPositive = graph.CountTrue(graph.Op("Less", [sums.Through, sums.Total]), axis: 1);
        return graph.Column(graph.Op("Min", [atOrBelow, lastPositive]));
    }
}
