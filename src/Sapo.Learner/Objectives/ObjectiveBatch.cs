using Sapo.Core;

namespace Sapo.Learner.Objectives;

/// <summary>The sizes of the WHOLE optimizer mini-batch, so that a micro-batch yields its exact share.</summary>
/// <param name="Sequences">B: all completions submitted, those without counted tokens included.</param>
/// <param name="Tokens">T: all counted tokens.</param>
public readonly record struct BatchTotals(int Sequences, long Tokens);

/// <summary>
/// Completions as ragged rows: flat arrays of N tokens, row i being [RowOffsets[i], RowOffsets[i+1]).
/// Prompt and padding tokens are not in it. All logarithms are natural. The arrays are read, never changed or kept.
/// </summary>
public sealed record ObjectiveBatch
{
    /// <summary>[B+1], starts at 0, ends at N, never falls.</summary>
    public required int[] RowOffsets { get; init; }

    /// <summary>[N] l: log-prob of each token under the current policy; the gradient is with respect to these.</summary>
    public required double[] LogProbs { get; init; }

    /// <summary>[N] log-probs that the ratio is taken against: o or m, see <see cref="IObjective.RequiredAnchor"/>.</summary>
    public required double[] AnchorLogProbs { get; init; }

    /// <summary>[N] A: constant within a row unless a token-level estimator made it.</summary>
    public required double[] Advantages { get; init; }

    /// <summary>B and T of the whole mini-batch.</summary>
    public required BatchTotals Totals { get; init; }

    /// <summary>[N] which tokens count at all (false: a hole such as tool output; it leaves T). Null: every token counts.</summary>
    public bool[]? Mask { get; init; }

    /// <summary>[N] which counted tokens carry the policy term (false: the token stays in the denominators). Null: all.</summary>
    public bool[]? TermMask { get; init; }

    /// <summary>[N] m: log-probs reported by the sampler; NaN where it has none (the token's mismatch weight is then 1).</summary>
    public double[]? SamplerLogProbs { get; init; }

    /// <summary>[N] log-probs of the reference policy, for a KL term.</summary>
    public double[]? ReferenceLogProbs { get; init; }

    /// <summary>[N] entropy of the old policy's next-token distribution, in nats.</summary>
    public double[]? OldEntropies { get; init; }

    /// <summary>[N] entropy of the current policy's next-token distribution, in nats, for an entropy bonus.</summary>
    public double[]? Entropies { get; init; }

    /// <summary>[N] w: detached mismatch weights, already truncated or masked; <see cref="IObjective.Prepare"/> makes them.</summary>
    public double[]? CorrectionWeights { get; init; }

    /// <summary>Per-token facts about whole next-token distributions, for the objectives that look at them.</summary>
    public TokenDistributions? Distributions { get; init; }

    /// <summary>Number of rows.</summary>
    public int Rows => RowOffsets.Length - 1;

    /// <summary>Number of tokens in all rows, counted or not.</summary>
    public int TokenCount => LogProbs.Length;

    /// <summary>The totals of a batch taken for itself: all its rows and its counted tokens.</summary>
    public static BatchTotals TotalsOf(int[] rowOffsets, bool[]? mask) =>
        new(rowOffsets.Length - 1, mask is null ? rowOffsets[^1] : mask.Count(counted => counted));

    /// <summary>Rows [first, first + count) with the same <see cref="Totals"/>: one micro-batch of this mini-batch.</summary>
    public ObjectiveBatch Slice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Rows - first);
        int start = RowOffsets[first], end = RowOffsets[first + count];
        return this with
        {
            RowOffsets = [.. RowOffsets[first..(first + count + 1)].Select(offset => offset - start)],
            LogProbs = LogProbs[start..end],
            AnchorLogProbs = AnchorLogProbs[start..end],
            Advantages = Advantages[start..end],
            Mask = Mask?[start..end],
            TermMask = TermMask?[start..end],
            SamplerLogProbs = SamplerLogProbs?[start..end],
            ReferenceLogProbs = ReferenceLogProbs?[start..end],
            OldEntropies = OldEntropies?[start..end],
            Entropies = Entropies?[start..end],
            CorrectionWeights = CorrectionWeights?[start..end],
            Distributions = Distributions?.Slice(start, end),
        };
    }

    /// <summary>Checks that offsets and lengths fit together.</summary>
    /// <exception cref="InvalidDataException">Something does not fit; the message names it.</exception>
    internal void Validate()
    {
        if (RowOffsets.Length == 0 || RowOffsets[0] != 0) throw new InvalidDataException($"{nameof(RowOffsets)} must start with 0.");
        for (int row = 0; row < Rows; row++)
            if (RowOffsets[row + 1] < RowOffsets[row]) throw new InvalidDataException($"{nameof(RowOffsets)} falls at row {row}.");
        int tokens = RowOffsets[^1];
        Require(nameof(LogProbs), LogProbs, tokens);
        Require(nameof(AnchorLogProbs), AnchorLogProbs, tokens);
        Require(nameof(Advantages), Advantages, tokens);
        Require(nameof(Mask), Mask, tokens);
        Require(nameof(TermMask), TermMask, tokens);
        Require(nameof(SamplerLogProbs), SamplerLogProbs, tokens);
        Require(nameof(ReferenceLogProbs), ReferenceLogProbs, tokens);
        Require(nameof(OldEntropies), OldEntropies, tokens);
        Require(nameof(Entropies), Entropies, tokens);
        Require(nameof(CorrectionWeights), CorrectionWeights, tokens);
        Distributions?.Validate(tokens);
        if (Totals.Sequences < Rows) throw new InvalidDataException($"Totals.Sequences is {Totals.Sequences}, but the batch alone has {Rows} rows.");
    }

    private static void Require(string name, Array? values, int expected)
    {
        if (values is not null && values.Length != expected)
            throw new InvalidDataException($"{name} has {values.Length} values, {nameof(RowOffsets)} implies {expected}.");
    }
}
