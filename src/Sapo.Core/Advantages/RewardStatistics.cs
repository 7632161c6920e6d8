namespace Sapo.Core.Advantages;

/// <summary>Mean and unbiased standard deviation of the scores that exist, in double precision.</summary>
internal readonly record struct RewardStatistics(int Count, double Mean, double StandardDeviation, bool AllEqual)
{
    /// <summary>Statistics of the non-null values. Fewer than two values count as all equal, with standard deviation 0.</summary>
    public static RewardStatistics Of(IEnumerable<double?> values)
    {
        double[] scores = [.. values.Where(value => value is not null).Select(value => value!.Value)];
        if (scores.Length == 0) return new(0, 0, 0, AllEqual: true);
        double mean = scores.Sum() / scores.Length;
        if (scores.Length == 1 || scores.Max().Equals(scores.Min())) return new(scores.Length, scores[0], 0, AllEqual: true);
        double squares = scores.Sum(score => (score - mean) * (score - mean));
        return new(scores.Length, mean, Math.Sqrt(squares / (scores.Length - 1)), AllEqual: false);
    }
}
