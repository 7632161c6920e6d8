using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>
/// Detached weights w against the mismatch between sampler (m) and learner (o): TIS, MIS/IcePop and sequence weights.
/// Order: ratio, rejection or mask, truncation, normalisation. Denominators of the objective stay the original counts.
/// </summary>
public static class MismatchCorrection
{
    /// <summary>Logarithms of ratios are clamped to +- this before they are exponentiated.</summary>
    private const double LogRatioClamp = 20;

    /// <summary>[N] the weights of a whole mini-batch; 0 for tokens that are not counted.</summary>
    /// <param name="options">Level, action, bounds, rejection, normalisation.</param>
    /// <param name="rowOffsets">[B+1] as in <see cref="ObjectiveBatch.RowOffsets"/>.</param>
    /// <param name="old">[N] o.</param>
    /// <param name="sampler">[N] m; NaN where the sampler reported none: that token counts as o = m.</param>
    /// <param name="mask">[N] which tokens count; null: all.</param>
    public static double[] Weights(CorrectionOptions options, int[] rowOffsets, double[] old, double[] sampler, bool[]? mask)
    {
        var weights = new double[old.Length];
        double sum = 0;
        int counted = 0;
        for (int row = 0; row + 1 < rowOffsets.Length; row++)
        {
            int[] tokens = [.. Enumerable.Range(rowOffsets[row], rowOffsets[row + 1] - rowOffsets[row]).Where(token => mask is null || mask[token])];
            double[] logRatios = Array.ConvertAll(tokens, token => double.IsNaN(sampler[token]) ? 0 : old[token] - sampler[token]);
            bool[] kept = Kept(options.Reject, logRatios);
            for (int index = 0; index < tokens.Length; index++)
            {
                double weight = kept[index] ? Bounded(options, Ratio(options.Level, logRatios, index)) : 0;
                weights[tokens[index]] = weight;
                sum += weight;
            }
            counted += tokens.Length;
        }
        if (options.Normalise)
            for (int token = 0; token < weights.Length; token++) weights[token] = sum == 0 ? 0 : weights[token] * counted / sum;
        return weights;
    }

    /// <summary>k1 = o - m, k2 = k1^2/2 or k3 = exp(k1) - 1 - k1 of a log-ratio.</summary>
    public static double Metric(string name, double logRatio) => name switch
    {
        "k1" => logRatio,
        "k2" => logRatio * logRatio / 2,
        _ => KlPenalty.Estimate("k3", -logRatio).Value,
    };

    private static double Ratio(string level, double[] logRatios, int index)
    {
        double logarithm = level switch
        {
            "token" => logRatios[index],
            "sequence" => logRatios.Sum(),
            _ => logRatios.Average(),
        };
        return Math.Exp(Math.Clamp(logarithm, -LogRatioClamp, LogRatioClamp));
    }

    private static double Bounded(CorrectionOptions options, double ratio)
    {
        double low = options.Low ?? 0, high = options.High ?? double.PositiveInfinity;
        if (options.Action == "truncate") return Math.Clamp(ratio, low, high);
        return ratio >= low && ratio <= high ? ratio : 0;
    }

    private static bool[] Kept(RejectionOptions? reject, double[] logRatios)
    {
        if (reject is null || logRatios.Length == 0) return [.. logRatios.Select(_ => true)];
        double[] metrics = Array.ConvertAll(logRatios, logRatio => Metric(reject.Metric, logRatio));
        if (reject.Level == "sequence") Array.Fill(metrics, metrics.Average());
        return Array.ConvertAll(metrics, metric => metric >= (reject.Low ?? double.NegativeInfinity) && metric <= (reject.High ?? double.PositiveInfinity));
    }
}
