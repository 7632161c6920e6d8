using Sapo.Core;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Tests.Rollouts;

public sealed class RewardJudgeTests
{
    private static readonly RolloutGroup Group = Fakes.Group(Fakes.Prompt(4), new PolicyVersion(0), size: 2);

    [Fact]
    public async Task JudgeAsync_TwoFunctions_AddsTheirScores()
    {
        var judge = Fakes.Judge(new Fakes.Scores(input => RewardOutcome.Score(input.Completion.SampleIndex)), new Fakes.Scores(_ => RewardOutcome.Score(0.5)));
        var scored = await judge.JudgeAsync(Group, default);
        Assert.Equal([0.5, 1.5], scored.Rewards);
    }

    [Fact]
    public async Task JudgeAsync_FunctionThrows_CountsAsFailureOfThatCompletion()
    {
        var judge = Fakes.Judge(new Fakes.Scores(input => input.Completion.SampleIndex == 1 ? throw new FormatException("no number") : RewardOutcome.Score(1)));
        var scored = await judge.JudgeAsync(Group, default);
        Assert.Equal([1.0, null], scored.Rewards);
        Assert.Equal(RewardStatus.Failure, scored.Outcomes[1][0].Status);
        Assert.Equal("scores: FormatException: no number", scored.Outcomes[1][0].Reason);
    }

    [Fact]
    public async Task JudgeAsync_OneAbstains_TheOtherDecidesAndAllAbstainingGivesNone()
    {
        var abstains = new Fakes.Scores(_ => RewardOutcome.Abstain("no opinion"));
        var scores = new Fakes.Scores(_ => RewardOutcome.Score(0.25));
        Assert.Equal([0.25, 0.25], (await Fakes.Judge(abstains, scores).JudgeAsync(Group, default)).Rewards);
        Assert.Equal([null, null], (await Fakes.Judge(abstains).JudgeAsync(Group, default)).Rewards);
    }

    [Fact]
    public async Task JudgeAsync_Cancelled_IsNotAFailureOfTheReward()
    {
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        var judge = Fakes.Judge(new Fakes.Scores(_ => throw new OperationCanceledException(stop.Token)));
        await Assert.ThrowsAsync<OperationCanceledException>(() => judge.JudgeAsync(Group, stop.Token));
    }
}
