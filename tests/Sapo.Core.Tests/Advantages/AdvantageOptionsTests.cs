using Sapo.Core.Advantages;
using Sapo.Core.Options;

namespace Sapo.Core.Tests.Advantages;

public sealed class AdvantageOptionsTests
{
    /// <summary>Sums of a few numbers.</summary>
    private const double Tolerance = 1e-12;

    [Fact]
    public void Create_EveryKnownEstimator_HasThatName() =>
        Assert.All(AdvantageOptions.Known, known => Assert.Equal(known.Estimator, AdvantageRegistry.Create(new AdvantageOptions { Estimator = known.Estimator }).Name));

    [Fact]
    public void Create_UnknownName_NamesTheNearest() =>
        Assert.Contains("Did you mean \"rloo\"", Assert.Throws<UserErrorException>(() => AdvantageRegistry.Create(new AdvantageOptions { Estimator = "rlo" })).Message, StringComparison.Ordinal);

    [Fact]
    public void Create_KnobOfAnotherEstimator_IsRefusedWithTheOwnKnobs()
    {
        var error = Assert.Throws<UserErrorException>(() => AdvantageRegistry.Create(new AdvantageOptions { Gamma = 0.9 }));
        Assert.Contains("advantage.gamma is set, but grpo does not use it", error.Message, StringComparison.Ordinal);
        Assert.Contains("epsilon, scale", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Create_EpsilonOutOfRange_IsRefused() => Assert.Throws<UserErrorException>(() => AdvantageRegistry.Create(new AdvantageOptions { Epsilon = double.NaN }));

    [Theory]
    [InlineData("grpo")]
    [InlineData("dr-grpo")]
    [InlineData("rloo")]
    [InlineData("gdpo")]
    [InlineData("espo")]
    public void Estimate_DifferentRewards_SumsToZeroOverTheBatch(string name)
    {
        AdvantageGroup[] groups =
        [
            new() { PromptId = "a", Rewards = [[1.0], [0.25], [0.5], [-2.0]] },
            new() { PromptId = "b", Rewards = [[0.7], [0.7], [0.7]] },
            new() { PromptId = "c", Rewards = [[3.0], [null], [-1.0]] },
        ];
        AdvantageResult result = AdvantageRegistry.Create(new AdvantageOptions { Estimator = name }).Estimate(new AdvantageInput(groups));
        Assert.Equal(0, result.Sequence.Sum(group => group.Sum()), Tolerance);
        Assert.Equal(1.0 / 3, result.ZeroSpreadFraction, Tolerance);
        Assert.Equal(1, result.Abstained);
        Assert.Equal(0.0, result.Sequence[2][1]);
    }

    [Fact]
    public void Estimate_WrongNumberOfWeights_IsRefused() => Assert.Throws<UserErrorException>(() =>
        new LeaveOneOutAdvantage().Estimate(new AdvantageInput([new AdvantageGroup { PromptId = "a", Rewards = [[1.0], [0.0]] }], [1, 2])));
}
