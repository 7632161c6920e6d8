namespace Sapo.Core.Metrics;

/// <summary>How many equally weighted samples would be as good as the weighted ones (Kish 1965).</summary>
public static class EffectiveSampleSize
{
    /// <summary>(sum w)^2 / sum w^2: from 1 (one weight is all) to the number of weights (all equal); 0 for no weights or weights of 0.</summary>
    /// <param name="weights">Weights of the counted samples, each finite and 0 or more.</param>
    /// <exception cref="ArgumentException">A weight is negative or not finite.</exception>
    public static double Count(ReadOnlySpan<double> weights)
    {
        // Divided by the largest first: squares of very large or small weights would leave the range of a double.
        var largest = 0.0;
        foreach (var weight in weights)
        {
            if (!(weight >= 0 && double.IsFinite(weight))) throw new ArgumentException($"A weight is {weight}; weights are finite and not negative.", nameof(weights));
            largest = Math.Max(largest, weight);
        }
        if (largest == 0) return 0;
        double sum = 0, squares = 0;
        foreach (var weight in weights)
        {
            sum += weight / largest;
            squares += weight / largest * (weight / largest);
        }
        return sum * sum / squares;
    }

    /// <summary><see cref="Count"/> as a share of the number of weights, in [0, 1].</summary>
    /// <inheritdoc cref="Count" path="/param"/>
    /// <inheritdoc cref="Count" path="/exception"/>
    public static double Fraction(ReadOnlySpan<double> weights) => weights.Length == 0 ? 0 : Count(weights) / weights.Length;
}
