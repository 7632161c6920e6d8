namespace Sapo.Core.Advantages;

/// <summary>
/// REINFORCE++-baseline (arXiv 2501.03262): R_i - mean of the group, on each of the completion's tokens, whitened over all
/// tokens of the batch, so that long completions weigh more in the statistics. A group with equal rewards enters the
/// statistics with 0 and gets exactly 0 afterwards.
/// </summary>
/// <param name="whiteningEpsilon">Added to the variance; 1e-8 as in verl.</param>
public sealed class ReinforceBaselineAdvantage(double whiteningEpsilon) : IAdvantageEstimator
{
    /// <inheritdoc />
    public string Name => "reinforce++-baseline";

    /// <inheritdoc />
    public AdvantageResult Estimate(AdvantageInput input)
    {
        input.Validate();
        double?[][] rewards = input.CombinedRewards();
        AdvantageResult centred = Estimation.PerGroup(rewards, (reward, group) => reward - group.Mean);
        var tokens = new double[rewards.Length][][];
        for (int index = 0; index < rewards.Length; index++)
        {
            int[] lengths = TokenWhitening.LengthsOf(input.Groups[index], Name);
            tokens[index] = [.. rewards[index].Select((reward, completion) =>
                reward is null ? [] : Enumerable.Repeat(centred.Sequence[index][completion], lengths[completion]).ToArray())];
        }
        TokenWhitening.Apply(tokens, whiteningEpsilon);
        double[][] sequence = TokenWhitening.Means(tokens);
        for (int index = 0; index < rewards.Length; index++)
            if (RewardStatistics.Of(rewards[index]).AllEqual) Array.Clear(sequence[index]);
        return Estimation.Result(rewards, sequence);
    }
}
