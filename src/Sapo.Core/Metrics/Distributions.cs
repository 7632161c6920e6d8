// The distribution functions that intervals and tests need, in double precision. Quantiles are found by bisection on
// the distribution function: slow, but as exact as it.
namespace Sapo.Core.Metrics;

/// <summary>Normal, Student, beta and binomial distribution functions.</summary>
internal static class Distributions
{
    private const double RelativePrecision = 1e-16;
    private const double Smallest = 1e-300;

    // Lanczos' approximation of the gamma function with g = 7 and nine terms; relative error about 1e-15.
    private const double LanczosShift = 7;

    private static readonly double[] Lanczos =
    [
        0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
    ];

    /// <summary>The point below which a standard normal variable lies with a probability.</summary>
    public static double NormalQuantile(double probability) => Bisect(NormalCumulative, probability, -40, 40);

    /// <summary>The point below which Student's t with some degrees of freedom lies with a probability.</summary>
    public static double StudentQuantile(double probability, double degreesOfFreedom)
    {
        // By symmetry only the upper half is searched, where the bound doubles until it is beyond the point.
        if (probability < 0.5) return -StudentQuantile(1 - probability, degreesOfFreedom);
        var high = 1.0;
        while (StudentCumulative(high, degreesOfFreedom) < probability) high *= 2;
        return Bisect(t => StudentCumulative(t, degreesOfFreedom), probability, 0, high);
    }

    /// <summary>The point below which a beta variable lies with a probability.</summary>
    public static double BetaQuantile(double probability, double a, double b) => Bisect(x => IncompleteBeta(x, a, b), probability, 0, 1);

    /// <summary>Probability of at most <paramref name="successes"/> in <paramref name="trials"/> fair coin tosses.</summary>
    public static double FairBinomialCumulative(int successes, int trials) => successes >= trials ? 1 : IncompleteBeta(0.5, trials - successes, successes + 1);

    /// <summary>The regularised incomplete beta function I_x(a, b).</summary>
    public static double IncompleteBeta(double x, double a, double b)
    {
        if (x <= 0) return 0;
        if (x >= 1) return 1;
        // The continued fraction converges fast below the mean; above it the mirrored function is used.
        if (x > (a + 1) / (a + b + 2)) return 1 - IncompleteBeta(1 - x, b, a);
        var factor = Math.Exp(LogGamma(a + b) - LogGamma(a) - LogGamma(b) + a * Math.Log(x) + b * Math.Log(1 - x)) / a;
        return factor / BetaContinuedFraction(x, a, b);
    }

    private static double StudentCumulative(double t, double degreesOfFreedom) =>
        1 - IncompleteBeta(degreesOfFreedom / (degreesOfFreedom + t * t), degreesOfFreedom / 2, 0.5) / 2;

    private static double NormalCumulative(double z)
    {
        if (Math.Abs(z) > 6) return z > 0 ? 1 - NormalTail(z) : NormalTail(-z);
        // Phi(z) = 1/2 + phi(z) (z + z^3/3 + z^5/(3 5) + ...): all terms of one sign.
        var term = z;
        var sum = z;
        for (var odd = 3; Math.Abs(term) > RelativePrecision * Math.Abs(sum); odd += 2)
        {
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 + sum * NormalDensity(z);
    }

    /// <summary>Probability above z, for z beyond 6: phi(z) / (z + 1/(z + 2/(z + 3/...))).</summary>
    private static double NormalTail(double z)
    {
        var fraction = z;
        for (var k = 60; k >= 1; k--) fraction = z + k / fraction;
        return NormalDensity(z) / fraction;
    }

    private static double NormalDensity(double z) => Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI);

    private static double LogGamma(double x)
    {
        if (x < 0.5) return Math.Log(Math.PI / Math.Abs(Math.Sin(Math.PI * x))) - LogGamma(1 - x);
        x--;
        var sum = Lanczos[0];
        for (var i = 1; i < Lanczos.Length; i++) sum += Lanczos[i] / (x + i);
        var shifted = x + LanczosShift + 0.5;
        return 0.5 * Math.Log(2 * Math.PI) + (x + 0.5) * Math.Log(shifted) - shifted + Math.Log(sum);
    }

    /// <summary>1 + d1/(1 + d2/(1 + ...)), evaluated from the front (Lentz' method).</summary>
    private static double BetaContinuedFraction(double x, double a, double b)
    {
        double value = 1, numerator = 1, denominator = 0;
        for (var i = 1; i < 100_000; i++)
        {
            var m = i / 2;
            var coefficient = i % 2 == 0
                ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
            denominator = 1 / NotZero(1 + coefficient * denominator);
            numerator = NotZero(1 + coefficient / numerator);
            var change = numerator * denominator;
            value *= change;
            if (Math.Abs(change - 1) < RelativePrecision * 4) break;
        }
        return value;
    }

    private static double NotZero(double value) => Math.Abs(value) < Smallest ? Smallest : value;

    private static double Bisect(Func<double, double> cumulative, double probability, double low, double high)
    {
        // Ends when no double lies between the bounds.
        while (true)
        {
            var middle = low + (high - low) / 2;
            if (middle <= low || middle >= high) return middle;
            if (cumulative(middle) < probability) low = middle;
            else high = middle;
        }
    }
}
