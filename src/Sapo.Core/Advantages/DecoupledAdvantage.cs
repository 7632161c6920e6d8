namespace Sapo.Core.Advantages;

/// <summary>
/// GDPO (arXiv 2601.05242): each reward function is normalised within its group by itself, the normalised values are summed
/// with the functions' weights, and the sums are whitened per completion over the batch. An abstention leaves that function's
/// mean and deviation, and its term is 0; a completion on which every function abstained is left out of the batch and gets 0.
/// </summary>
/// <param name="epsilon">Added to both standard deviations; 1e-6 as in verl, TRL has 1e-4.</param>
public sealed class DecoupledAdvantage(double epsilon) : IAdvantageEstimator
{
    /// <inheritdoc />
    public string Name => "gdpo";

    /// <inheritdoc />
    public AdvantageResult Estimate(AdvantageInput input)
    {
        input.Validate();
        double?[][] rewards = input.CombinedRewards();
        double?[][] sums = [.. input.Groups.Select((group, index) => Sums(input, group, rewards[index]))];
        RewardStatistics batch = RewardStatistics.Of(sums.SelectMany(group => group));
        double[][] advantages = [.. sums.Select(group => Array.ConvertAll(group, sum =>
            sum is { } value && !batch.AllEqual ? (value - batch.Mean) / (batch.StandardDeviation + epsilon) : 0))];
        return Estimation.Result(rewards, advantages);
    }

    /// <summary>[G] the weighted sum of the per-function advantages; null where every function abstained.</summary>
    private double?[] Sums(AdvantageInput input, AdvantageGroup group, double?[] combined)
    {
        double?[] sums = Array.ConvertAll(combined, reward => reward is null ? (double?)null : 0);
        int functions = group.Size == 0 ? 0 : group.Rewards[0].Length;
        for (int function = 0; function < functions; function++)
        {
            RewardStatistics statistics = RewardStatistics.Of(group.Rewards.Select(scores => scores[function]));
            if (statistics.AllEqual) continue;
            for (int completion = 0; completion < group.Size; completion++)
                if (group.Rewards[completion][function] is { } score)
                    sums[completion] += input.WeightOf(function) * (score - statistics.Mean) / (statistics.StandardDeviation + epsilon);
        }
        return sums;
    }
}
