namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// GMPO (arXiv 2507.20673): the geometric mean of token ratios clipped one-sidedly, by the sign of A, in log space:
/// h(z) = min(z, clipHigh) for A &gt; 0, max(z, -clipLow) otherwise.
/// </summary>
internal sealed class GmpoTerm(double clipLow, double clipHigh) : GeometricMeanTerm
{
    /// <inheritdoc />
    public override string Name => "gmpo";

    /// <inheritdoc />
    protected override (double Value, double Slope, ClipSide Clip) Piece(double logRatio, double advantage) => advantage > 0
        ? logRatio > clipHigh ? (clipHigh, 0, ClipSide.High) : (logRatio, 1, ClipSide.None)
        : logRatio < -clipLow ? (-clipLow, 0, ClipSide.Low) : (logRatio, 1, ClipSide.None);
}
