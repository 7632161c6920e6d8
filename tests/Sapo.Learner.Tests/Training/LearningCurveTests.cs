using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Training;

/// <summary>Twenty SAPO steps on a tiny model: the reward is 1 when a completion's first token is in the lower half of the vocabulary.</summary>
public sealed class LearningCurveTests
{
    // Float32 sums differ between BLAS kernels in the last bits; twenty AdamW steps make 1e-5 of that, seen between machines.
    private const double Tolerance = 1e-3;

    /// <summary>Probability that the first token is in the lower half, mean over the prompts: before the first step, then after every step. Computed by this learner.</summary>
    private static readonly double[] Curve =
    [
        0.499975, 0.515233, 0.547183, 0.593184, 0.646537, 0.683163, 0.709502, 0.728960, 0.738004, 0.748953, 0.760669,
        0.769604, 0.777018, 0.783502, 0.792154, 0.796339, 0.810934, 0.834638, 0.870040, 0.899118, 0.933268,
    ];

    [Fact]
    public void Sapo_TwentySteps_FollowTheCommittedCurve()
    {
        using var model = new TinyModel();
        var options = new LearnerOptions { MiniBatches = 2, LearningRate = 5e-3, WarmupSteps = 3 };
        using var learner = new PolicyLearner(model.Folder, options, ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize));
        int[][] prompts = [[3, 4], [5], [6, 7, 8], [9, 10, 2]];
        var random = new Random(17);
        var curve = new List<double> { Score(learner, prompts) };
        for (var step = 0; step < 20; step++)
        {
            var groups = prompts.Select((prompt, index) =>
            {
                int[][] completions = [.. Enumerable.Range(0, 8).Select(_ => Enumerable.Range(0, 3).Select(_ => random.Next(learner.Config.VocabSize)).ToArray())];
                return Rollouts.Group(learner, index, prompt, completions, random, rewards: [.. completions.Select(completion => (double?)(completion[0] < learner.Config.VocabSize / 2 ? 1 : 0))]);
            }).ToArray();
            learner.Step(TrainingBatch.Pack(groups, new GroupAdvantage("grpo", AdvantageScale.Group, 1e-6), options));
            curve.Add(Score(learner, prompts));
        }
        Assert.True(curve.Count == Curve.Length && curve.Zip(Curve, (found, expected) => Math.Abs(found - expected)).All(difference => difference <= Tolerance),
            "The curve is now " + string.Join(", ", curve.Select(value => value.ToString("F6"))));
        Assert.True(curve[^1] > curve[0] + 0.2, $"The policy did not learn: {curve[0]} to {curve[^1]}");
    }

    private static double Score(PolicyLearner learner, int[][] prompts) => prompts.Average(prompt =>
    {
        int[][] sequences = [.. Enumerable.Range(0, learner.Config.VocabSize / 2).Select(id => (int[])[.. prompt, id])];
        return learner.LogProbs(sequences, 1).Sum(logProbs => Math.Exp(logProbs[^1]));
    });
}
