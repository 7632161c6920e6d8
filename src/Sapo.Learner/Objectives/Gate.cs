using Sapo.Core;

namespace Sapo.Learner.Objectives;

/// <summary>
/// A soft gate f over the ratio with f'(1) = 1. The sigmoid is SAPO's (arXiv 2511.20347); erf, arctan and softsign are those
/// of the gate study (arXiv 2602.19345), scaled by us so that f'(1) = 1 and f(1) = 0.
/// </summary>
internal sealed class Gate
{
    private readonly Func<double, double, (double Value, double Slope)> shape;

    private Gate(string name, Func<double, double, (double Value, double Slope)> shape)
    {
        Name = name;
        this.shape = shape;
    }

    /// <summary>The name used in run files.</summary>
    public string Name { get; }

    /// <summary>SAPO's own gate.</summary>
    public static Gate Sigmoid { get; } = new("sigmoid", SigmoidShape);

    /// <summary>All gates.</summary>
    public static IReadOnlyList<Gate> All { get; } =
    [
        Sigmoid,
        new("erf", (x, tau) => (Math.Sqrt(Math.PI / 2) / tau * ErrorFunction.Erf(tau * x / Math.Sqrt(2)), Math.Exp(-tau * tau * x * x / 2))),
        new("arctan", (x, tau) => (Math.Atan(tau * x) / tau, 1 / (1 + tau * tau * x * x))),
        new("softsign", (x, tau) => (x / (1 + tau * Math.Abs(x)), Square(1 / (1 + tau * Math.Abs(x))))),
    ];

    /// <summary>f and f' at a ratio.</summary>
    public (double Value, double Slope) At(double ratio, double tau) => shape(ratio - 1, tau);

    /// <summary>
    /// f = (4/tau) p with p = sigmoid(tau x), f' = 4 p (1 - p) in the form 4e/(1+e)^2, e = exp(-|tau x|), which neither
    /// overflows nor loses the tail when p rounds to 1.
    /// </summary>
    private static (double Value, double Slope) SigmoidShape(double x, double tau)
    {
        double e = Math.Exp(-Math.Abs(tau * x));
        double p = x >= 0 ? 1 / (1 + e) : e / (1 + e);
        return (4 / tau * p, 4 * e / Square(1 + e));
    }

    private static double Square(double value) => value * value;
}
