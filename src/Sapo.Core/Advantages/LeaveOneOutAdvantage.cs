namespace Sapo.Core.Advantages;

/// <summary>
/// RLOO (arXiv 2402.14740): A_i = R_i - mean of the other completions' rewards = G/(G-1) (R_i - mean of the group), G counting
/// the scored completions.
/// </summary>
public sealed class LeaveOneOutAdvantage : IAdvantageEstimator
{
    /// <inheritdoc />
    public string Name => "rloo";

    /// <inheritdoc />
    public AdvantageResult Estimate(AdvantageInput input)
    {
        input.Validate();
        return Estimation.PerGroup(input.CombinedRewards(), (reward, group) => (reward - group.Mean) * group.Count / (group.Count - 1));
    }
}
