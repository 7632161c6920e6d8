namespace TorchSharp.Tests;

/// <summary>Special functions that .NET lacks, by series whose error is below float64 rounding in the range used.</summary>
internal static class Reference
{
    /// <summary>2/sqrt(pi) sum (-1)^n x^(2n+1) / (n! (2n+1)); for |x| below 3.</summary>
    public static double Erf(double x)
    {
        double term = x, sum = x;
        for (int n = 1; n < 200; n++)
        {
            term *= -x * x / n;
            sum += term / ((2 * n) + 1);
        }
        return 2 / Math.Sqrt(Math.PI) * sum;
    }

    /// <summary>The inverse of <see cref="Erf"/>, by Newton's method.</summary>
    public static double ErfInverse(double y)
    {
        double x = 0;
        for (int i = 0; i < 60; i++) x -= (Erf(x) - y) / (2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x));
        return x;
    }

    /// <summary>ln Gamma: Stirling's series at x + 20, brought down by the recurrence.</summary>
    public static double LogGamma(double x)
    {
        double down = 0;
        for (int i = 0; i < 20; i++) down += Math.Log(x + i);
        double z = x + 20;
        return ((z - 0.5) * Math.Log(z)) - z + (0.5 * Math.Log(2 * Math.PI)) + (1 / (12 * z)) - (1 / (360 * z * z * z)) + (1 / (1260 * Math.Pow(z, 5))) - down;
    }

    /// <summary>The derivative of ln Gamma: its asymptotic series at x + 20, brought down by the recurrence.</summary>
    public static double Digamma(double x)
    {
        double down = 0;
        for (int i = 0; i < 20; i++) down += 1 / (x + i);
        double z = x + 20;
        return Math.Log(z) - (1 / (2 * z)) - (1 / (12 * z * z)) + (1 / (120 * Math.Pow(z, 4))) - (1 / (252 * Math.Pow(z, 6))) - down;
    }

    public static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    /// <summary>The normal distribution's cumulative function.</summary>
    public static double Phi(double x) => 0.5 * (1 + Erf(x / Math.Sqrt(2)));

    /// <summary>Halves to the even neighbour, as libtorch rounds.</summary>
    public static double Round(double x) => Math.Round(x, MidpointRounding.ToEven);
}
