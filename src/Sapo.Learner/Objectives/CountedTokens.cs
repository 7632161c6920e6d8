using Sapo.Core;

namespace Sapo.Learner.Objectives;

/// <summary>
/// The counted tokens of a batch, closed up: holes are gone before any term sees the data, so every term treats them as if
/// they were not there. Also the one place where log-ratios are clamped and non-finite numbers are refused.
/// </summary>
internal sealed class CountedTokens
{
    private readonly ObjectiveBatch batch;

    /// <summary>Closes up <paramref name="batch"/> and clamps its log-ratios to +-<paramref name="clamp"/>.</summary>
    public CountedTokens(ObjectiveBatch batch, double clamp)
    {
        batch.Validate();
        this.batch = batch;
        Totals = batch.Totals;
        RowOffsets = new int[batch.Rows + 1];
        var positions = new List<int>(batch.TokenCount);
        for (int row = 0; row < batch.Rows; row++)
        {
            for (int token = batch.RowOffsets[row]; token < batch.RowOffsets[row + 1]; token++)
                if (batch.Mask is null || batch.Mask[token]) positions.Add(token);
            RowOffsets[row + 1] = positions.Count;
        }
        Positions = [.. positions];
        if (Totals.Tokens < Count) throw new InvalidDataException($"Totals.Tokens is {Totals.Tokens}, but the batch alone has {Count} counted tokens.");

        LogProbs = Required("log-prob", batch.LogProbs);
        AnchorLogProbs = Required("anchor log-prob", batch.AnchorLogProbs);
        Advantages = Required("advantage", batch.Advantages);
        LogRatios = new double[Count];
        InsideClamp = new bool[Count];
        for (int token = 0; token < Count; token++)
        {
            double logRatio = LogProbs[token] - AnchorLogProbs[token];
            LogRatios[token] = Math.Clamp(logRatio, -clamp, clamp);
            InsideClamp[token] = Math.Abs(logRatio) <= clamp;
        }
    }

    /// <summary>B and T of the whole mini-batch.</summary>
    public BatchTotals Totals { get; }

    /// <summary>[rows + 1] where each row's counted tokens begin.</summary>
    public int[] RowOffsets { get; }

    /// <summary>[n] index of each counted token in the batch's arrays.</summary>
    public int[] Positions { get; }

    /// <summary>Counted tokens in this batch.</summary>
    public int Count => Positions.Length;

    /// <summary>Rows, those without counted tokens included.</summary>
    public int Rows => RowOffsets.Length - 1;

    /// <summary>[n] l.</summary>
    public double[] LogProbs { get; }

    /// <summary>[n] o or m.</summary>
    public double[] AnchorLogProbs { get; }

    /// <summary>[n] A.</summary>
    public double[] Advantages { get; }

    /// <summary>[n] z = clamp(l - anchor).</summary>
    public double[] LogRatios { get; }

    /// <summary>[n] dz/dl as a truth value: true inside the closed clamp interval.</summary>
    public bool[] InsideClamp { get; }

    /// <summary>First token, end and length of a row.</summary>
    public (int Start, int End, int Length) Row(int row) => (RowOffsets[row], RowOffsets[row + 1], RowOffsets[row + 1] - RowOffsets[row]);

    /// <summary>[n] the counted entries of an array that <paramref name="user"/> cannot do without; all must be finite.</summary>
    public double[] Needed(string name, Func<ObjectiveBatch, double[]?> select, string user) =>
        Required(name, select(batch) ?? throw new InvalidDataException($"{user} needs the {name} of every token, but the batch has none."));

    /// <summary>As <see cref="Needed"/>, for entries that are not numbers.</summary>
    public T[] NeededValues<T>(string name, Func<ObjectiveBatch, T[]?> select, string user) =>
        Gather(select(batch) ?? throw new InvalidDataException($"{user} needs the {name} of every token, but the batch has none."));

    /// <summary>[n] the counted entries of an array, or null where the batch has none.</summary>
    public T[]? Optional<T>(Func<ObjectiveBatch, T[]?> select) => select(batch) is { } values ? Gather(values) : null;

    /// <summary>The one advantage of a row, for terms that cannot take one per token.</summary>
    public double RowAdvantage(int row, string user)
    {
        (int start, int end, int length) = Row(row);
        double advantage = length == 0 ? 0 : Advantages[start];
        for (int token = start + 1; token < end; token++)
            if (!Advantages[token].Equals(advantage))
                throw new InvalidDataException($"{user} takes one advantage per completion, but row {row} has {advantage} and {Advantages[token]}. Use a sequence-level estimator.");
        return advantage;
    }

    /// <summary>Puts counted values back to where they came from; 0 elsewhere.</summary>
    public double[] Scatter(double[] counted)
    {
        var values = new double[batch.TokenCount];
        for (int token = 0; token < Count; token++) values[Positions[token]] = counted[token];
        return values;
    }

    private T[] Gather<T>(T[] values) => Array.ConvertAll(Positions, position => values[position]);

    private double[] Required(string name, double[] values)
    {
        double[] counted = Gather(values);
        int bad = Array.FindIndex(counted, value => !double.IsFinite(value));
        if (bad < 0) return counted;
        int position = Positions[bad];
        int row = Array.FindLastIndex(batch.RowOffsets, offset => offset <= position);
        throw new UserErrorException($"The {name} of row {row}, position {position - batch.RowOffsets[row]} is {counted[bad]}", "a finite number",
            "The policy has diverged or its inputs are damaged: go back to the last checkpoint, and lower the learning rate if it happens again");
    }
}
