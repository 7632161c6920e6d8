// Two policies on the same problems: is the second better? Pairing takes the problems' difficulty out of the question.
namespace Sapo.Core.Metrics;

/// <summary>The distribution of mean(second - first) when problems are resampled with replacement.</summary>
/// <param name="Mean">Mean difference over the problems.</param>
/// <param name="StandardError">Population standard deviation of the differences over the root of their number: exact, not simulated.</param>
/// <param name="Interval">Percentiles of the resampled means: the smallest value that as much of them does not exceed.</param>
/// <param name="ProbabilityNotAboveZero">Share of resampled means that are 0 or less.</param>
/// <param name="ProbabilityBelowZero">Share of resampled means below 0.</param>
public readonly record struct PairedBootstrap(double Mean, double StandardError, ConfidenceInterval Interval, double ProbabilityNotAboveZero, double ProbabilityBelowZero);

/// <summary>Compares two policies that were evaluated on the same problems.</summary>
public static class PairedComparison
{
    /// <summary>Resampled means this near to 0 are 0: scores are fractions, and their sums carry rounding errors.</summary>
    private const double RoundingError = 1e-12;

    /// <summary>
    /// McNemar's exact test: the two-sided p-value that the problems which only one policy solves fall to either alike
    /// (binomial, capped at 1; 1 when there are none).
    /// </summary>
    /// <param name="onlyFirstRight">Problems that only the first policy solves.</param>
    /// <param name="onlySecondRight">Problems that only the second policy solves.</param>
    /// <exception cref="ArgumentOutOfRangeException">A count is negative.</exception>
    public static double McNemarExact(int onlyFirstRight, int onlySecondRight)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(onlyFirstRight);
        ArgumentOutOfRangeException.ThrowIfNegative(onlySecondRight);
        var fewer = Math.Min(onlyFirstRight, onlySecondRight);
        return Math.Min(1, 2 * Distributions.FairBinomialCumulative(fewer, onlyFirstRight + onlySecondRight));
    }

    /// <summary>Resamples the problems, n of n with replacement, both policies together.</summary>
    /// <param name="first">The first policy's score per problem, finite.</param>
    /// <param name="second">The second policy's score per problem, in the same order.</param>
    /// <param name="seed">Seed of the resampling; the same seed gives the same result.</param>
    /// <param name="resamples">How many resamples, at least 1.</param>
    /// <param name="confidence">Coverage of the interval, inside (0, 1).</param>
    /// <exception cref="ArgumentException">The lists are empty, of different length, or hold a score that is not finite.</exception>
    public static PairedBootstrap Bootstrap(IReadOnlyList<double> first, IReadOnlyList<double> second, long seed, int resamples = 10_000, double confidence = 0.95)
    {
        if (first.Count == 0 || first.Count != second.Count) throw new ArgumentException($"Paired scores must be of one length, at least 1: found {first.Count} and {second.Count}.", nameof(second));
        ArgumentOutOfRangeException.ThrowIfLessThan(resamples, 1);
        ConfidenceInterval.CheckConfidence(confidence);
        double[] differences = [.. second.Zip(first, (after, before) => after - before)];
        if (!differences.All(double.IsFinite)) throw new ArgumentException("A score is not finite.", nameof(first));
        var means = new double[resamples];
        for (var resample = 0; resample < resamples; resample++) means[resample] = ResampledMean(differences, seed, resample);
        Array.Sort(means);
        var mean = differences.Sum() / differences.Length;
        var variance = differences.Sum(difference => (difference - mean) * (difference - mean)) / differences.Length;
        var outside = (1 - confidence) / 2;
        return new PairedBootstrap(
            mean, Math.Sqrt(variance / differences.Length), new ConfidenceInterval(Percentile(means, outside), Percentile(means, 1 - outside)),
            (double)means.Count(value => value <= RoundingError) / resamples, (double)means.Count(value => value < -RoundingError) / resamples);
    }

    private static double ResampledMean(double[] differences, long seed, int resample)
    {
        var sum = 0.0;
        for (var draw = 0; draw < differences.Length; draw++)
        {
            // The high half of word * n is uniform on 0..n-1 up to n / 2^32.
            var chosen = (int)((ulong)CounterRandom.Word(seed, resample, 0, draw) * (ulong)differences.Length >> 32);
            sum += differences[chosen];
        }
        return sum / differences.Length;
    }

    private static double Percentile(double[] sorted, double probability) => sorted[Math.Clamp((int)Math.Ceiling(probability * sorted.Length) - 1, 0, sorted.Length - 1)];
}
