namespace Sapo.Core.Advantages;

/// <summary>What the estimators share: walking over groups with the rules of <see cref="IAdvantageEstimator"/>.</summary>
internal static class Estimation
{
    /// <summary>Applies a formula to every scored completion of every group whose rewards differ; all others get exactly 0.</summary>
    public static AdvantageResult PerGroup(double?[][] rewards, Func<double, RewardStatistics, double> formula)
    {
        var advantages = new double[rewards.Length][];
        for (int index = 0; index < rewards.Length; index++)
        {
            RewardStatistics group = RewardStatistics.Of(rewards[index]);
            advantages[index] = Array.ConvertAll(rewards[index], reward => reward is { } score && !group.AllEqual ? formula(score, group) : 0);
        }
        return Result(rewards, advantages);
    }

    /// <summary>The result record with its counts.</summary>
    public static AdvantageResult Result(double?[][] rewards, double[][] sequence, double[][][]? tokens = null) => new()
    {
        Sequence = sequence,
        Tokens = tokens,
        ZeroSpreadFraction = rewards.Length == 0 ? 0 : (double)rewards.Count(group => RewardStatistics.Of(group).AllEqual) / rewards.Length,
        Abstained = rewards.Sum(group => group.Count(reward => reward is null)),
    };
}
