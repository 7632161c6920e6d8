using System.Diagnostics;
using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>
/// J -= beta * aggregate(k(delta)), delta = l - reference log-prob, with the objective's own aggregation and never multiplied
/// by mismatch weights. k1 = delta, k2 = delta^2/2, k3 = exp(-delta) - 1 + delta; k1+ and k3+ have their value and k2's gradient.
/// Ratio-corrected forms multiply by the token's r or the completion's s, through which gradient flows as well.
/// </summary>
internal sealed class KlPenalty(KlOptions options)
{
    /// <summary>k and dk/dl of one token.</summary>
    public static (double Value, double Slope) Estimate(string kind, double delta) => kind switch
    {
        "k1" => (delta, 1),
        "k2" => (delta * delta / 2, delta),
        "k3" => (Third(delta), 1 - Math.Exp(-delta)),
        "k1+" => (delta, delta),
        "k3+" => (Third(delta), delta),
        _ => throw new UnreachableException($"KL estimator {kind}"),
    };

    /// <summary>The row's share of the aggregated estimate (before beta); subtracts beta times its gradient.</summary>
    public double Apply(CountedTokens tokens, int row, double coefficient, double[] reference, double[] gradient)
    {
        (int start, int end, int length) = tokens.Row(row);
        double sequenceRatio = options.RatioCorrected == "sequence" ? SequenceRatio.GeometricMean(tokens, row) : 1;
        double total = 0;
        for (int token = start; token < end; token++)
        {
            (double value, double slope) = Estimate(options.Kind, tokens.LogProbs[token] - reference[token]);
            double ratio = options.RatioCorrected == "token" ? Math.Exp(tokens.LogRatios[token]) : sequenceRatio;
            bool throughRatio = options.RatioCorrected == "token" && tokens.InsideClamp[token];
            gradient[token] -= options.Beta * coefficient * ratio * (slope + (throughRatio ? value : 0));
            total += ratio * value;
        }
        if (options.RatioCorrected == "sequence")
            for (int token = start; token < end; token++)
                if (tokens.InsideClamp[token]) gradient[token] -= options.Beta * coefficient * total / length;
        return coefficient * total;
    }

    /// <summary>The weight of the penalty.</summary>
    public double Beta => options.Beta;

    /// <summary>exp(-delta) - 1 + delta, without cancellation near 0 and never negative.</summary>
    private static double Third(double delta) => Math.Abs(delta) < 1e-3
        ? delta * delta * (1.0 / 2 - delta * (1.0 / 6 - delta * (1.0 / 24 - delta / 120)))
        : Math.Exp(-delta) - 1 + delta;
}
