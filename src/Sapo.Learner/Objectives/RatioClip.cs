namespace Sapo.Learner.Objectives;

/// <summary>
/// The clipped surrogate min(r A, clip(r, low, high) A) shared by GRPO and its relatives, with the bounds for negative
/// advantages' large ratios that later systems added. Intervals are closed: a ratio exactly on a bound keeps its gradient.
/// </summary>
internal readonly record struct RatioClip
{
    private readonly double low;
    private readonly double highPositive;
    private readonly double highNegative;

    /// <param name="low">Smallest ratio that still has a gradient when A is negative.</param>
    /// <param name="high">Largest ratio that still has a gradient when A is positive.</param>
    /// <param name="dualClip">c: for negative A the value is never below c A (dual clip); null: no such bound.</param>
    /// <param name="delta">Upper clamp of the unclipped ratio (two-sided clipping); null: none.</param>
    public RatioClip(double low, double high, double? dualClip = null, double? delta = null)
    {
        double cap = delta ?? double.PositiveInfinity;
        this.low = low;
        highPositive = Math.Min(high, cap);
        highNegative = Math.Min(dualClip ?? double.PositiveInfinity, Math.Max(cap, high));
    }

    /// <summary>Which bound stops the gradient at this ratio.</summary>
    public ClipSide SideOf(double ratio, double advantage) => advantage switch
    {
        > 0 => ratio > highPositive ? ClipSide.High : ClipSide.None,
        < 0 => ratio < low ? ClipSide.Low : ratio > highNegative ? ClipSide.High : ClipSide.None,
        _ => ClipSide.None,
    };

    /// <summary>The term of one ratio; its slope is d/d(log ratio).</summary>
    public TokenTerm At(double ratio, double advantage)
    {
        ClipSide side = SideOf(ratio, advantage);
        double bounded = side switch
        {
            ClipSide.Low => low,
            ClipSide.High => advantage > 0 ? highPositive : highNegative,
            _ => ratio,
        };
        return TokenTerm.Differentiable(bounded * advantage, side == ClipSide.None ? ratio : 0, advantage, side);
    }
}
