using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Sapo.Hybrid.Tasks;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class EvaluatorTests
{
    [Fact]
    public void PassAt1_OneSample_IsWilsonsInterval()
    {
        // Wilson for 8 of 10 at z = 1.959964, by hand: centre (0.8 + z^2/20) / (1 + z^2/10) = 0.716740,
        // half width z / (1 + z^2/10) * sqrt(0.8 * 0.2 / 10 + z^2/400) = 0.226575.
        var share = Evaluator.PassAt1([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], samples: 1);
        Assert.Equal(0.8, share.Value, 1e-12);
        Assert.Equal(0.490162, share.Low, 1e-5);
        Assert.Equal(0.943318, share.High, 1e-5);
    }

    [Fact]
    public void PassAt1_AllWrong_BeginsAtZeroAndEndsAboveIt()
    {
        var share = Evaluator.PassAt1(new int[512], samples: 1);
        Assert.Equal(0, share.Low, 1e-12);
        Assert.InRange(share.High, 0.001, 0.01);
    }

    [Fact]
    public void PassAt1_SeveralSamples_CountsProblemsNotCompletions()
    {
        // Shares 1, 0.5, 0: mean 0.5, standard deviation 0.5, Student's half width 4.302653 * 0.5 / sqrt(3) = 1.24, cut at 0 and 1.
        var share = Evaluator.PassAt1([4, 2, 0], samples: 4);
        Assert.Equal(0.5, share.Value, 1e-12);
        Assert.Equal(0, share.Low);
        Assert.Equal(1, share.High);
        var many = Evaluator.PassAt1([.. Enumerable.Repeat(new[] { 4, 2, 0 }, 100).SelectMany(x => x)], samples: 4);
        Assert.Equal(0.5 - 1.967930 * 0.408931 / Math.Sqrt(300), many.Low, 1e-5); // t(0.975; 299) and the deviation sqrt(300/299 / 6)
    }

    [Fact]
    public async Task RunAsync_TwoProblems_CountsRightUnscoredAndStyles()
    {
        var task = new AdditionTask(1);
        var judge = Fakes.Judge(new Fakes.Scores(input => input.Completion.SampleIndex switch
        {
            0 => RewardOutcome.Score(1),
            1 => RewardOutcome.Score(0),
            _ => RewardOutcome.Fail("broken"),
        }));
        var evaluator = new Evaluator((prompt, samples, sampling, _) => Task.FromResult(Fakes.Group(prompt, new PolicyVersion(7), samples)), judge, task, new ManualClock());
        var (result, groups) = await evaluator.RunAsync(task.HeldOutPrompts(2), new EvaluationOptions { Problems = 2, Samples = 3 }, new SamplingOptions(), default);
        Assert.Equal(2, groups.Count);
        Assert.Equal(7, result.Version);
        Assert.Equal(1 / 3.0, result.PassAt1.Value, 1e-12);
        Assert.Equal(1, result.PassAtK);
        Assert.Equal(2, result.Unscored);
        Assert.Equal(0.5, result.MeanReward, 1e-12); // over the scored ones
    }
}
