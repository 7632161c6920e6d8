namespace Sapo.Core.Metrics;

/// <summary>A confidence interval.</summary>
/// <param name="Low">Its lower end.</param>
/// <param name="High">Its upper end.</param>
public readonly record struct ConfidenceInterval(double Low, double High)
{
    /// <summary>Wilson's score interval of a proportion (Wilson 1927). Within [0, 1], of sensible width also at 0 and at all of them.</summary>
    /// <param name="successes">How many succeeded, 0 to <paramref name="trials"/>.</param>
    /// <param name="trials">How many there were, at least 1, independent of each other.</param>
    /// <param name="confidence">Probability that such intervals hold the true proportion, inside (0, 1).</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range.</exception>
    public static ConfidenceInterval Wilson(int successes, int trials, double confidence = 0.95)
    {
        Check(successes, trials, confidence);
        var z = Distributions.NormalQuantile(0.5 + confidence / 2);
        double share = (double)successes / trials, widening = z * z / trials;
        var centre = (share + widening / 2) / (1 + widening);
        var half = z * Math.Sqrt(share * (1 - share) / trials + widening / (4 * trials)) / (1 + widening);
        // At the ends the formula gives 0 and 1 but for rounding.
        return new ConfidenceInterval(successes == 0 ? 0 : centre - half, successes == trials ? 1 : centre + half);
    }

    /// <summary>The exact interval of a proportion (Clopper and Pearson 1934): never too narrow, usually too wide.</summary>
    /// <inheritdoc cref="Wilson" path="/param"/>
    /// <inheritdoc cref="Wilson" path="/exception"/>
    public static ConfidenceInterval ClopperPearson(int successes, int trials, double confidence = 0.95)
    {
        Check(successes, trials, confidence);
        var outside = (1 - confidence) / 2;
        return new ConfidenceInterval(
            successes == 0 ? 0 : Distributions.BetaQuantile(outside, successes, trials - successes + 1),
            successes == trials ? 1 : Distributions.BetaQuantile(1 - outside, successes + 1, trials - successes));
    }

    private static void Check(int successes, int trials, double confidence)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(trials, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(successes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(successes, trials);
        CheckConfidence(confidence);
    }

    /// <summary>Refuses a confidence outside (0, 1).</summary>
    internal static void CheckConfidence(double confidence)
    {
        if (!(confidence > 0 && confidence < 1)) throw new ArgumentOutOfRangeException(nameof(confidence), confidence, "A confidence lies between 0 and 1, both excluded.");
    }
}
