namespace Sapo.Core.Advantages;

/// <summary>By what the distance from the group's mean is divided.</summary>
public enum AdvantageScale
{
    /// <summary>The group's standard deviation + epsilon (GRPO, arXiv 2402.03300).</summary>
    Group,

    /// <summary>The standard deviation of all rewards of the batch + epsilon (TRL's scale_rewards="batch").</summary>
    Batch,

    /// <summary>Nothing (Dr.GRPO, arXiv 2503.20783).</summary>
    None,
}

/// <summary>
/// A_i = (R_i - mean of the group) / (standard deviation + epsilon), the standard deviation unbiased (n - 1).
/// Completions on which no reward function had an opinion are outside mean and deviation: that is also ESPO's rule
/// (arXiv 2512.00499, Eq. 11), which this estimator serves under that name.
/// </summary>
/// <param name="name">grpo, dr-grpo or espo: they differ in defaults only.</param>
/// <param name="scale">By what to divide.</param>
/// <param name="epsilon">Added to the standard deviation; 1e-6 as in verl, TRL has 1e-4.</param>
public sealed class GroupAdvantage(string name, AdvantageScale scale, double epsilon) : IAdvantageEstimator
{
    /// <inheritdoc />
    public string Name => name;

    /// <inheritdoc />
    public AdvantageResult Estimate(AdvantageInput input)
    {
        input.Validate();
        double?[][] rewards = input.CombinedRewards();
        double batchDeviation = RewardStatistics.Of(rewards.SelectMany(group => group)).StandardDeviation;
        return Estimation.PerGroup(rewards, (reward, group) => (reward - group.Mean) / scale switch
        {
            AdvantageScale.Group => group.StandardDeviation + epsilon,
            AdvantageScale.Batch => batchDeviation + epsilon,
            _ => 1,
        });
    }
}
