namespace Sapo.Learner.Objectives;

/// <summary>The Gauss error function in double precision; .NET has none.</summary>
internal static class ErrorFunction
{
    /// <summary>Beyond this |x| erf(x) rounds to +-1 in double.</summary>
    private const double Saturation = 6;

    /// <summary>Below this the series is used, above it the continued fraction of erfc.</summary>
    private const double SeriesLimit = 2.5;

    /// <summary>erf(x) = 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x; absolute error below 1e-15.</summary>
    public static double Erf(double x)
    {
        double size = Math.Abs(x);
        if (double.IsNaN(x)) return x;
        if (size >= Saturation) return Math.Sign(x);
        return Math.Sign(x) * (size < SeriesLimit ? Series(size) : 1 - ComplementByFraction(size));
    }

    /// <summary>Phi(x) = (1 + erf(x / sqrt 2)) / 2: the standard normal distribution function.</summary>
    public static double NormalCumulative(double x) => (1 + Erf(x / Math.Sqrt(2))) / 2;

    /// <summary>erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!: all terms positive, no cancellation.</summary>
    private static double Series(double x)
    {
        double term = x, sum = x;
        for (int n = 1; term > sum * 1e-17; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }

    /// <summary>erfc(x) = exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))), evaluated from the inside out.</summary>
    private static double ComplementByFraction(double x)
    {
        const int depth = 80;
        double tail = x;
        for (int k = depth; k >= 1; k--) tail = x + k / 2.0 / tail;
        return Math.Exp(-x * x) / Math.Sqrt(Math.PI) / tail;
    }
}
