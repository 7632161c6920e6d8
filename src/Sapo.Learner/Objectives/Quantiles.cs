namespace Sapo.Learner.Objectives;

/// <summary>Quantiles by linear interpolation between order statistics, as numpy and torch compute them by default.</summary>
internal static class Quantiles
{
    /// <summary>The quantile at <paramref name="share"/> (0 to 1) of at least one value.</summary>
    public static double Of(ReadOnlySpan<double> values, double share)
    {
        double[] sorted = values.ToArray();
        Array.Sort(sorted);
        return OfSorted(sorted, share);
    }

    /// <summary>As <see cref="Of"/>, for values already in ascending order.</summary>
    public static double OfSorted(double[] sorted, double share)
    {
        double position = share * (sorted.Length - 1);
        int below = (int)Math.Floor(position);
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
    }
}
