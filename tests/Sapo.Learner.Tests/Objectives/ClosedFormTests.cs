using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Values by hand, with the arithmetic.</summary>
public sealed class ClosedFormTests
{
    /// <summary>The hand values are given to ten digits.</summary>
    private const double Tolerance = 1e-10;

    /// <summary>One completion of two tokens with z = 0 and z = 0.3, and one of one token with z = -0.4.</summary>
    private static ObjectiveBatch Batch(double first, double second) => new()
    {
        RowOffsets = [0, 2, 3],
        LogProbs = [-1.0, -0.2, -1.3],
        AnchorLogProbs = [-1.0, -0.5, -0.9],
        Advantages = [first, first, second],
        Totals = new BatchTotals(2, 3),
    };

    private static ObjectiveResult Evaluate(ObjectiveOptions options, double first, double second) =>
        ObjectiveRegistry.Create(options, vocabularySize: 1000).Evaluate(Batch(first, second));

    [Fact]
    public void Sapo_ThreeTokens_MatchesArithmetic()
    {
        ObjectiveResult result = Evaluate(new ObjectiveOptions(), 1, -0.5);
        // c = 1/(2*2) for row 1, 1/(2*1) for row 2. r = 1, 1.3498588076, 0.6703200460.
        // W = 1 at r = 1. Token 2: x = 0.3498588076, sech^2(x/2) = 0.9700..., times r.
        double second = 1.3498588075760032 / Math.Pow(Math.Cosh(0.3498588075760032 / 2), 2);
        // Row 2, tau = 1.05: x = 1.05 * (-0.3296799540) = -0.3461639517.
        double third = 0.6703200460356393 / Math.Pow(Math.Cosh(1.05 * (0.6703200460356393 - 1) / 2), 2);
        Assert.Equal(0.25, result.Gradient[0], Tolerance);
        Assert.Equal(0.25 * second, result.Gradient[1], Tolerance);
        Assert.Equal(-0.5 * 0.5 * third, result.Gradient[2], Tolerance);
        // J = 1/4 (4 * 1/2 + 4 sigmoid(0.34986)) - 1/2 * 1/2 * 4/1.05 sigmoid(-0.34616).
        double value = 0.25 * (2 + 4 / (1 + Math.Exp(-0.3498588075760032))) - 0.25 * 4 / 1.05 / (1 + Math.Exp(1.05 * 0.3296799539643607));
        Assert.Equal(value, result.Value, Tolerance);
    }

    [Fact]
    public void Grpo_RatioAboveTheBoundWithPositiveAdvantage_HasNoGradient()
    {
        ObjectiveResult result = Evaluate(new ObjectiveOptions { Name = "grpo" }, 1, 1);
        // Token 2 is cut at 1.2; token 3 (r = 0.67 < 0.8, A > 0) keeps min(r, 0.8) = r. J = 1/4 (1 + 1.2) + 1/2 * 0.6703200460.
        Assert.Equal([0.25, 0, 0.5 * 0.6703200460356393], result.Gradient);
        Assert.Equal(0.25 * 2.2 + 0.5 * 0.6703200460356393, result.Value, Tolerance);
    }

    [Fact]
    public void Gspo_WholeCompletion_SharesOneRatio()
    {
        ObjectiveResult result = Evaluate(new ObjectiveOptions { Name = "gspo", ClipLow = 0.2, ClipHigh = 0.28 }, 1, 0);
        // s = exp((0 + 0.3)/2) = 1.1618342427; both tokens of row 1 have c = 1/4.
        Assert.Equal(0.25 * 1.1618342427282831, result.Gradient[0], Tolerance);
        Assert.Equal(0.25 * 1.1618342427282831, result.Gradient[1], Tolerance);
        Assert.Equal(0.0, result.Gradient[2]);
    }
}
