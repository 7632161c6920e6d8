namespace Sapo.Learner.Objectives;

/// <summary>Smallest, largest and three quantiles of some numbers, by linear interpolation.</summary>
/// <param name="Minimum">Smallest.</param>
/// <param name="P10">10 % lie below.</param>
/// <param name="P50">The median.</param>
/// <param name="P90">90 % lie below.</param>
/// <param name="Maximum">Largest.</param>
/// <param name="Mean">Arithmetic mean.</param>
public sealed record Distribution(double Minimum, double P10, double P50, double P90, double Maximum, double Mean)
{
    /// <summary>The distribution of some numbers; null where there are none.</summary>
    public static Distribution? Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values];
        if (sorted.Length == 0) return null;
        Array.Sort(sorted);
        return new(sorted[0], Quantiles.OfSorted(sorted, 0.1), Quantiles.OfSorted(sorted, 0.5), Quantiles.OfSorted(sorted, 0.9), sorted[^1], sorted.Average());
    }
}

/// <summary>The objective's weights W of the tokens with one sign of the advantage.</summary>
/// <param name="Tokens">How many tokens.</param>
/// <param name="Weights">Their weights; null where there are no tokens.</param>
/// <param name="BelowHalf">Share of them with a weight under 0.5.</param>
public sealed record WeightReport(int Tokens, Distribution? Weights, double BelowHalf);

/// <summary>How far the learner's log-probs o lie from the sampler's m before any update.</summary>
/// <param name="Tokens">Tokens compared: those for which the sampler reported a log-prob.</param>
/// <param name="Missing">Counted tokens for which it did not.</param>
/// <param name="LargestDifference">Largest |o - m|, in nats.</param>
/// <param name="K1">Mean of m - o: an estimate of KL(sampler || learner) that may be negative.</param>
/// <param name="K3">Mean of exp(o - m) - 1 - (o - m): the same, never negative.</param>
/// <param name="ChiSquare">Mean of exp(2 (o - m)) - 1.</param>
public sealed record MismatchDiagnostics(int Tokens, int Missing, double LargestDifference, double K1, double K3, double ChiSquare);

/// <summary>
/// What the ratios and weights of one optimizer mini-batch look like, whatever its objective: computed once per mini-batch from
/// the batch and the summed results of its micro-batches. All numbers are over counted tokens.
/// </summary>
public sealed record RatioDiagnostics
{
    /// <summary>Log-ratios beyond this are clamped before they are exponentiated.</summary>
    private const double LogRatioClamp = 20;

    /// <summary>Weights of tokens with A &gt; 0.</summary>
    public required WeightReport Positive { get; init; }

    /// <summary>Weights of tokens with A &lt; 0.</summary>
    public required WeightReport Negative { get; init; }

    /// <summary>Ratios r = exp(z), z = l - anchor; null without tokens.</summary>
    public required Distribution? Ratios { get; init; }

    /// <summary>Variance of z within each completion of at least one token; null without any.</summary>
    public required Distribution? SequenceVariances { get; init; }

    /// <summary>Sum of z of each completion: the logarithm of its sequence weight; null without any.</summary>
    public required Distribution? LogSequenceWeights { get; init; }

    /// <summary>(sum r)^2 / (n sum r^2) over tokens: 1 when all ratios are equal; 0 without tokens.</summary>
    public required double EffectiveTokenShare { get; init; }

    /// <summary>The same over completions with their sequence weights exp(sum of z).</summary>
    public required double EffectiveSequenceShare { get; init; }

    /// <summary>Mean of anchor log-prob - l: an estimate of KL(anchor || current).</summary>
    public required double AnchorKl { get; init; }

    /// <summary>Share of completions without counted tokens.</summary>
    public required double EmptyCompletionFraction { get; init; }

    /// <summary>Anchor against sampler, where the batch has the sampler's log-probs and the anchor is another policy.</summary>
    public required MismatchDiagnostics? Mismatch { get; init; }

    /// <summary>(sum w)^2 / (n sum w^2) of the mismatch weights; null where there are none.</summary>
    public required double? EffectiveCorrectionShare { get; init; }

    /// <summary>The diagnostics of a whole mini-batch.</summary>
    /// <param name="batch">The mini-batch, with the log-probs that the weights were computed from.</param>
    /// <param name="weights">[N] <see cref="ObjectiveResult.Weights"/>.</param>
    /// <exception cref="Core.UserErrorException">A counted number is not finite.</exception>
    public static RatioDiagnostics Of(ObjectiveBatch batch, double[] weights)
    {
        var tokens = new CountedTokens(batch, LogRatioClamp);
        double[] counted = Array.ConvertAll(tokens.Positions, position => weights[position]);
        double[] ratios = Array.ConvertAll(tokens.LogRatios, Math.Exp);
        int[] rows = [.. Enumerable.Range(0, tokens.Rows).Where(row => tokens.Row(row).Length > 0)];
        double[] sums = Array.ConvertAll(rows, row => tokens.LogRatios.AsSpan(tokens.Row(row).Start, tokens.Row(row).Length).ToArray().Sum());
        double[]? sampler = tokens.Optional(source => source.SamplerLogProbs);
        double[]? corrections = tokens.Optional(source => source.CorrectionWeights);
        return new RatioDiagnostics
        {
            Positive = WeightsWhere(counted, tokens.Advantages, advantage => advantage > 0),
            Negative = WeightsWhere(counted, tokens.Advantages, advantage => advantage < 0),
            Ratios = Distribution.Of(ratios),
            SequenceVariances = Distribution.Of(rows.Select(row => Variance(tokens.LogRatios.AsSpan(tokens.Row(row).Start, tokens.Row(row).Length)))),
            LogSequenceWeights = Distribution.Of(sums),
            EffectiveTokenShare = EffectiveShare(ratios),
            EffectiveSequenceShare = EffectiveShare([.. sums.Select(sum => Math.Exp(Math.Clamp(sum, -LogRatioClamp, LogRatioClamp)))]),
            AnchorKl = tokens.Count == 0 ? 0 : tokens.AnchorLogProbs.Zip(tokens.LogProbs, (anchor, current) => anchor - current).Average(),
            EmptyCompletionFraction = tokens.Rows == 0 ? 0 : 1 - (double)rows.Length / tokens.Rows,
            Mismatch = sampler is null || sampler.SequenceEqual(tokens.AnchorLogProbs) ? null : MismatchOf(tokens.AnchorLogProbs, sampler),
            EffectiveCorrectionShare = corrections is null ? null : EffectiveShare(corrections),
        };
    }

    /// <summary>Learner against sampler on some tokens; NaN marks a token for which the sampler reported nothing.</summary>
    public static MismatchDiagnostics MismatchOf(IReadOnlyList<double> old, IReadOnlyList<double> sampler)
    {
        double[] differences = [.. old.Zip(sampler, (learner, reported) => learner - reported).Where(difference => !double.IsNaN(difference))];
        double Mean(Func<double, double> of) => differences.Length == 0 ? 0 : differences.Average(of);
        return new MismatchDiagnostics(
            differences.Length,
            old.Count - differences.Length,
            differences.Select(Math.Abs).DefaultIfEmpty(0).Max(),
            Mean(difference => -difference),
            Mean(difference => MismatchCorrection.Metric("k3", Math.Clamp(difference, -LogRatioClamp, LogRatioClamp))),
            Mean(difference => Math.Exp(2 * Math.Clamp(difference, -LogRatioClamp, LogRatioClamp)) - 1));
    }

    private static WeightReport WeightsWhere(double[] weights, double[] advantages, Func<double, bool> sign)
    {
        double[] chosen = [.. weights.Where((_, token) => sign(advantages[token]))];
        return new(chosen.Length, Distribution.Of(chosen), chosen.Length == 0 ? 0 : (double)chosen.Count(weight => weight < 0.5) / chosen.Length);
    }

    private static double Variance(ReadOnlySpan<double> values)
    {
        double sum = 0, squares = 0;
        foreach (double value in values) sum += value;
        double mean = sum / values.Length;
        foreach (double value in values) squares += (value - mean) * (value - mean);
        return squares / values.Length;
    }

    private static double EffectiveShare(double[] weights)
    {
        double sum = weights.Sum(), squares = weights.Sum(weight => weight * weight);
        return squares == 0 ? 0 : sum * sum / (weights.Length * squares);
    }
}
