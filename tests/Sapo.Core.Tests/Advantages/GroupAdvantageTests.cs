using Sapo.Core.Advantages;


namespace Sapo.Core.Tests.Advantages;

public sealed class GroupAdvantageTests
{
    /// <summary>Double arithmetic on a handful of rewards: a few units in the last place.</summary>
    private const double Tolerance = 1e-14;

    private static AdvantageGroup Group(params double?[] rewards) =>
        new() { PromptId = "p1", Rewards = [.. rewards.Select(reward => new[] { reward })] };

    private static double[] Estimate(IAdvantageEstimator estimator, params double?[] rewards) =>
        estimator.Estimate(new AdvantageInput([Group(rewards)])).Sequence[0];

    [Fact]
    public void Estimate_TwoOfFourCorrect_IsMeanOverUnbiasedDeviation()
    {
        // rewards 1 0 0 1: mean 1/2, unbiased variance (4 * 1/4) / 3 = 1/3, deviation 0.57735; A = +-0.5 / (0.57735 + 0).
        double[] advantages = Estimate(new GroupAdvantage("grpo", AdvantageScale.Group, 0), 1, 0, 0, 1);
        Assert.Equal(Math.Sqrt(3) / 2, advantages[0], Tolerance);
        Assert.Equal(-Math.Sqrt(3) / 2, advantages[1], Tolerance);
    }

    [Fact]
    public void Estimate_EqualRewards_IsExactlyZero()
    {
        // The mean of seven times 0.7 is not 0.7 in floating point, so 0/(0 + epsilon) would not be 0.
        foreach (IAdvantageEstimator estimator in new IAdvantageEstimator[] { new GroupAdvantage("grpo", AdvantageScale.Group, 1e-6), new LeaveOneOutAdvantage() })
            Assert.All(Estimate(estimator, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7), advantage => Assert.Equal(0.0, advantage));
    }

    [Fact]
    public void Estimate_AbstentionInGroup_LeavesTheBaselineAndGetsZero()
    {
        // 1 and 0 remain: mean 1/2.
        Assert.Equal([0.5, 0, -0.5], Estimate(new GroupAdvantage("dr-grpo", AdvantageScale.None, 0), 1, null, 0));
    }

    [Fact]
    public void Estimate_GroupOfOne_IsZero() => Assert.Equal([0.0], Estimate(new GroupAdvantage("grpo", AdvantageScale.Group, 1e-6), 3));

    [Fact]
    public void Estimate_RewardNotANumber_NamesThePrompt()
    {
        var error = Assert.Throws<UserErrorException>(() => Estimate(new GroupAdvantage("grpo", AdvantageScale.Group, 1e-6), 1, double.NaN));
        Assert.Contains("Prompt p1, completion 1", error.Message, StringComparison.Ordinal);
    }
}
