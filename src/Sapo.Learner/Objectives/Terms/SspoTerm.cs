namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// SSPO with a sigmoid gate (arXiv 2602.19327), a RECONSTRUCTION from the paper's abstract: the geometric mean over the
/// completion of SAPO's gate, h(z) = log((4/tau) sigmoid(tau (r - 1))), h' = tau (1 - p) r. On-policy S = 2/tau and W = 1.
/// </summary>
internal sealed class SspoSigmoidTerm(double tauPositive, double tauNegative) : GeometricMeanTerm
{
    /// <inheritdoc />
    public override string Name => "sspo-sigmoid";

    /// <inheritdoc />
    protected override (double Value, double Slope, ClipSide Clip) Piece(double logRatio, double advantage)
    {
        double tau = advantage > 0 ? tauPositive : tauNegative;
        double ratio = Math.Exp(logRatio);
        double x = tau * (ratio - 1);
        double e = Math.Exp(-Math.Abs(x));
        // log sigmoid(x) = -softplus(-x); 1 - sigmoid(x) = sigmoid(-x): both without cancellation.
        double logSigmoid = Math.Min(x, 0) - Math.Log(1 + e);
        double complement = x >= 0 ? e / (1 + e) : 1 / (1 + e);
        return (Math.Log(4 / tau) + logSigmoid, tau * complement * ratio, ClipSide.None);
    }
}

/// <summary>
/// SSPO with an arctan gate (arXiv 2602.19327), a RECONSTRUCTION from the paper's abstract: h(z) = arctan(k z)/k,
/// h' = 1/(1 + (k z)^2), so that S stays between exp(-pi/(2k)) and exp(pi/(2k)).
/// </summary>
internal sealed class SspoArctanTerm(double steepness) : GeometricMeanTerm
{
    /// <inheritdoc />
    public override string Name => "sspo-arctan";

    /// <inheritdoc />
    protected override (double Value, double Slope, ClipSide Clip) Piece(double logRatio, double advantage)
    {
        double x = steepness * logRatio;
        return (Math.Atan(x) / steepness, 1 / (1 + x * x), ClipSide.None);
    }
}
