namespace Sapo.Core.Models;

/// <summary>
/// Normally distributed numbers that are the same on every machine: integers from SplitMix64, Marsaglia's polar method,
/// and a logarithm made of the four basic operations alone (a platform's own may differ in the last bit).
/// </summary>
/// <param name="seed">The seed of the run.</param>
/// <param name="stream">Which sequence of that seed: one per tensor, so that a tensor does not depend on those before it.</param>
public sealed class SeededGaussian(long seed, long stream)
{
    private ulong _state = Mix((ulong)seed) ^ Mix(unchecked((ulong)stream + 0x632BE59BD9B4E019));
    private double _second = double.NaN;

    /// <summary>The next number, of mean 0 and standard deviation 1.</summary>
    public double Next()
    {
        if (!double.IsNaN(_second))
        {
            var kept = _second;
            _second = double.NaN;
            return kept;
        }
        double x, y, square;
        do
        {
            (x, y) = (2 * Uniform() - 1, 2 * Uniform() - 1);
            square = x * x + y * y;
        }
        while (square is >= 1 or 0);
        var scale = Math.Sqrt(-2 * Log(square) / square);
        _second = y * scale;
        return x * scale;
    }

    private double Uniform()
    {
        const double TwoToMinus53 = 1.0 / (1L << 53);
        return (Mix(_state += 0x9E3779B97F4A7C15) >> 11) * TwoToMinus53;
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }

    // x = m * 2^e with m in [0.7, 1.4]; ln m = 2 artanh(z), z = (m-1)/(m+1), as a series of which 12 terms reach 1e-17.
    private static double Log(double x)
    {
        const double Ln2 = 0.693147180559945309417;
        const int Terms = 12;
        var exponent = Math.ILogB(x);
        var mantissa = Math.ScaleB(x, -exponent);
        if (mantissa > 1.4142135623730951) (mantissa, exponent) = (mantissa / 2, exponent + 1);
        var z = (mantissa - 1) / (mantissa + 1);
        double sum = 0, square = z * z;
        for (var term = Terms - 1; term >= 0; term--) sum = sum * square + 1.0 / (2 * term + 1);
        return exponent * Ln2 + 2 * z * sum;
    }
}
