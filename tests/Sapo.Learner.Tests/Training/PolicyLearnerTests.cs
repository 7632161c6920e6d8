using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;

namespace Sapo.Learner.Tests.Training;

/// <summary>Whole steps of the learner on a tiny model: what they may not depend on, what they keep, what they refuse.</summary>
public sealed class PolicyLearnerTests
{
    // Float32: sums in another order differ in the last bits; a step moves a weight by about the learning rate, 1e-3 here.
    private const double SplitTolerance = 2e-5;

    private static readonly LearnerOptions Options = new() { MiniBatches = 2, LearningRate = 1e-3 };

    private static readonly GroupAdvantage Advantages = new("grpo", AdvantageScale.Group, 1e-6);

    [Fact]
    public void Step_AnyMicroBatchSize_GivesTheSameWeights()
    {
        using var model = new TinyModel();
        var whole = WeightsAfterSteps(model, Options, SapoObjective(model), 2);
        foreach (var tokens in new[] { 1, 17, 40 })
            Near(whole, WeightsAfterSteps(model, Options with { MaxTokensPerMicroBatch = tokens }, SapoObjective(model), 2), SplitTolerance);
    }

    [Fact]
    public void Step_ObjectiveOfTheWholeMiniBatch_DoesNotDependOnMicroBatches()
    {
        using var model = new TinyModel();
        IObjective Bapo() => ObjectiveRegistry.Create(new ObjectiveOptions { Name = "bapo" }, model.Config.VocabSize);
        var whole = WeightsAfterSteps(model, Options, Bapo(), 2);
        Near(whole, WeightsAfterSteps(model, Options with { MaxTokensPerMicroBatch = 17 }, Bapo(), 2), SplitTolerance);
    }

    [Fact]
    public void Step_SilentRowsComputedOrNot_GivesTheSameWeights()
    {
        using var model = new TinyModel();
        var (skipping, computing) = (SapoObjective(model), new KeepsSilentRows(SapoObjective(model)));
        Near(WeightsAfterSteps(model, Options, skipping, 2), WeightsAfterSteps(model, Options, computing, 2), SplitTolerance);
    }

    [Fact]
    public void Step_SameSeed_IsBitIdentical()
    {
        using var model = new TinyModel();
        Assert.Equal(WeightsAfterSteps(model, Options, SapoObjective(model), 3), WeightsAfterSteps(model, Options, SapoObjective(model), 3));
    }

    [Fact]
    public void Step_ActivationsRecomputed_IsBitIdentical()
    {
        using var model = new TinyModel();
        Assert.Equal(
            WeightsAfterSteps(model, Options, SapoObjective(model), 3), WeightsAfterSteps(model, Options with { ActivationCheckpointing = true }, SapoObjective(model), 3));
    }

    [Fact]
    public void Step_InBfloat16_MovesWeightsByLessThanItsResolution()
    {
        const double resolution = 1.0 / 256; // of a bfloat16, relative: smaller updates would be lost if weights were kept in it
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options with { Dtype = LearnerOptions.Bfloat16Dtype, LearningRate = 1e-6 }, SapoObjective(model));
        var before = Weights(learner);
        learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 6, 4, seed: 5), Advantages, Options));
        var moved = Weights(learner).Zip(before).Where(pair => pair.First != pair.Second).ToArray();
        Assert.InRange(moved.Length, 0.9 * before.Length, before.Length);
        Assert.InRange(moved.Count(pair => Math.Abs(pair.First - pair.Second) < resolution * Math.Abs(pair.Second)), 0.9 * moved.Length, moved.Length);
    }

    [Fact]
    public void Snapshot_InBfloat16_IsProbedInFloat32()
    {
        using var model = new TinyModel();
        using var exact = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        using var rounding = new PolicyLearner(model.Folder, Options with { Dtype = LearnerOptions.Bfloat16Dtype }, SapoObjective(model));
        Assert.Equal(exact.Snapshot([[3, 4, 5, 6]]).Probe[0].LogProbs, rounding.Snapshot([[3, 4, 5, 6]]).Probe[0].LogProbs);
        Assert.Equal(Weights(exact), Weights(rounding));
    }

    [Fact]
    public void Step_FirstMiniBatch_MeasuresTheMismatchWithTheSampler()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        var report = learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 6, 4, seed: 5), Advantages, Options));
        Assert.InRange(report.Mismatch.LargestDifference, 1e-3, Rollouts.SamplerNoise / 2 + 1e-5); // the noise is uniform over this range
        Assert.True(report.Mismatch.K3 >= 0);
        Assert.Equal(2, report.MiniBatches.Count);
        Assert.Equal(report.Tokens, report.TrainedTokens + report.SkippedTokens);
        Assert.True(report.FlopsSavedBySharing > 0);
        Assert.Equal(1, learner.Version.Value);
    }

    [Fact]
    public void Step_WithReferencePolicy_CountsItsForwardPassOnce()
    {
        using var model = new TinyModel();
        StepReport Report(KlOptions? kl)
        {
            using var learner = new PolicyLearner(model.Folder, Options, ObjectiveRegistry.Create(new ObjectiveOptions { Kl = kl }, model.Config.VocabSize));
            var random = new Random(1);
            return learner.Step(TrainingBatch.Pack([.. Enumerable.Range(0, 4).Select(id => Rollouts.Group(learner, id, [3, 4], [[5, 6, 7], [8]], random, rewards: [1, 0]))], Advantages, Options));
        }
        var (without, with) = (Report(null), Report(new KlOptions()));
        Assert.Equal(without.ComputedTokens, with.ComputedTokens);
        Assert.Equal(4.0 / 3, with.Flops / without.Flops, 1e-9); // forward and backward cost three forward passes, the reference one more
        Assert.Equal((false, true), (without.Seconds.ContainsKey("reference"), with.Seconds.ContainsKey("reference")));
    }

    [Fact]
    public void Step_WithoutSignal_StillMovesByMomentum()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 4, seed: 5), Advantages, Options));
        var before = Weights(learner);
        var silent = Rollouts.Group(learner, 0, [3, 4], [[5], [6, 7]], new Random(1), rewards: [1, 1]);
        var report = learner.Step(TrainingBatch.Pack([silent], Advantages, Options));
        Assert.Equal(0, report.TrainedTokens);
        Assert.Equal(0, report.MiniBatches[0].GradientNorm);
        Assert.NotEqual(before, Weights(learner));
    }

    [Fact]
    public void Step_GroupOfOneEmptyCompletionAndMissingReward_TeachNothing()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        var random = new Random(1);
        ScoredGroup[] groups =
        [
            Rollouts.Group(learner, 0, [3, 4], [[5, 6]], random, rewards: [1]),
            Rollouts.Group(learner, 1, [3, 4], [[], [7, 8]], random, rewards: [1, null]),
            Rollouts.Group(learner, 2, [3], [[], [9, 2, 1]], random, rewards: [1, 0]),
        ];
        var report = learner.Step(TrainingBatch.Pack(groups, Advantages, Options with { MiniBatches = 1 }));
        Assert.Equal(3, report.TrainedTokens); // of the last group alone
        Assert.All(Weights(learner), weight => Assert.True(float.IsFinite(weight)));
    }

    [Fact]
    public void Step_AllCompletionsTruncatedAndMasked_TeachNothing()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        var group = Rollouts.Group(learner, 0, [3, 4], [[5, 6], [7, 8]], new Random(1), rewards: [1, 0]);
        Completion[] truncated = [.. group.Group.Completions.Select(completion => completion with { FinishReason = FinishReason.Length })];
        var cut = group with { Group = group.Group with { Completions = truncated } };
        Assert.Equal(4, learner.Step(TrainingBatch.Pack([cut], Advantages, Options)).TrainedTokens);
        Assert.Equal(0, learner.Step(TrainingBatch.Pack([cut], Advantages, Options with { MaskTruncated = true })).TrainedTokens);
    }

    [Fact]
    public void Step_TruncatedSamplingWithKeptIds_RenormalisesOverThem()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        int[] prompt = [3, 4], tokens = [5, 6, 7];
        int[][] kept = [[5, 9], [6, 2, 3], [7]];
        var expected = Renormalised(learner, prompt, tokens, kept);
        var completion = Rollouts.Completion(tokens, 0, expected) with { KeptTokenIds = kept };
        var other = Rollouts.Completion([8], 1, Renormalised(learner, prompt, [8], [[8, 1]])) with { KeptTokenIds = [[8, 1]] };
        var group = new ScoredGroup(
            new RolloutGroup(new Prompt { Id = 0, TokenIds = prompt }, [completion, other], new SamplingOptions { TopK = 3 }),
            [[RewardOutcome.Score(1)], [RewardOutcome.Score(0)]], [1, 0]);
        var report = learner.Step(TrainingBatch.Pack([group], Advantages, Options));
        Assert.InRange(report.Mismatch.LargestDifference, 0, 1e-5); // two Float32 computations of the same renormalised distribution
        Assert.All(Weights(learner), weight => Assert.True(float.IsFinite(weight)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void State_SavedAndRestored_GoesOnBitForBit(bool withKl)
    {
        using var model = new TinyModel();
        IObjective Objective() => withKl ? ObjectiveRegistry.Create(new ObjectiveOptions { Kl = new KlOptions { Beta = 0.5 } }, model.Config.VocabSize) : SapoObjective(model);
        using var folder = new TinyModel(); // any folder of its own
        var path = Path.Combine(folder.Folder, "state");
        using var uninterrupted = new PolicyLearner(model.Folder, Options, Objective());
        Train(uninterrupted, 2, firstSeed: 0);
        uninterrupted.SaveState(path);
        Train(uninterrupted, 2, firstSeed: 2);
        using var resumed = new PolicyLearner(model.Folder, Options, Objective());
        resumed.RestoreState(path);
        Assert.Equal(2, resumed.Version.Value);
        Train(resumed, 2, firstSeed: 2);
        Assert.Equal(Weights(uninterrupted), Weights(resumed));
    }

    [Fact]
    public void RestoreState_FileCutOffOrGone_SaysToRemoveTheCheckpoint()
    {
        using var model = new TinyModel();
        var path = Path.Combine(model.Folder, "state");
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        learner.SaveState(path);
        var file = Path.Combine(path, "learner.safetensors");
        using (var stream = File.OpenWrite(file)) stream.SetLength(stream.Length - 1);
        Assert.Contains($"Remove {path} to go on", Assert.Throws<UserErrorException>(() => learner.RestoreState(path)).Message, StringComparison.Ordinal);
        File.Delete(file);
        Assert.Contains($"Remove {path} to go on", Assert.Throws<UserErrorException>(() => learner.RestoreState(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SaveModel_ThenLoad_GivesTheSameTensors()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        Train(learner, 1, firstSeed: 0);
        var folder = Path.Combine(model.Folder, "saved");
        learner.SaveModel(folder);
        using var loaded = new PolicyLearner(folder, Options, SapoObjective(model));
        Assert.Equal(Weights(learner), Weights(loaded));
        using var checkpoint = HuggingFaceCheckpoint.Open(folder);
        Assert.Equal(model.Config.ParameterCount, checkpoint.Config.ParameterCount);
    }

    [Fact]
    public void Snapshot_ProbeLogProbs_AreThoseOfLogProbs()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        int[][] sequences = [[3, 4, 5, 6], [7, 8]];
        var snapshot = learner.Snapshot(sequences);
        Assert.Equal(model.Config.Parameters().Select(parameter => parameter.Name), snapshot.Tensors.Select(tensor => tensor.Name), StringComparer.Ordinal);
        Assert.Equal(learner.LogProbs(sequences, 1), snapshot.Probe.Select(probe => probe.LogProbs));
        Assert.Equal(0, snapshot.Probe[0].LogProbs[0]);
    }

    [Fact]
    public void SupervisedStep_OnOneBatch_LearnsItAndLeavesThePolicyMomentsAlone()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        var batch = new SupervisedBatch([new SupervisedExample([3, 4], [5, 6, 1]), new SupervisedExample([3, 9], [7, 1])]);
        using var training = learner.StartSupervised(new AdamWOptions { Beta2 = 0.98 });
        var first = training.Step(batch, 1e-2);
        for (var step = 0; step < 40; step++) training.Step(batch, 1e-2);
        var last = training.Step(batch, 1e-2);
        Assert.Equal(5, first.TrainedTokens);
        Assert.True(last.Loss < 0.1 * first.Loss, $"the loss went from {first.Loss} to {last.Loss}");
        Assert.Equal(0, learner.Version.Value);
    }

    [Fact]
    public void SupervisedSteps_WithRouterBalance_TakeAnotherPath()
    {
        var mixture = TinyModel.Qwen3() with { ModelType = "qwen3_moe", Mixture = new MixtureConfig(4, 1, 8, NormalizeTopK: true, [true, true], 0.01) };
        using var model = new TinyModel(mixture);
        double LossWith(double balance)
        {
            using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
            using var training = learner.StartSupervised(new AdamWOptions(), balance);
            SupervisedBatch batch = new([.. Enumerable.Range(0, 6).Select(first => new SupervisedExample([3 + first], [.. Enumerable.Range(first, 8)]))]);
            SupervisedReport report = training.Step(batch, 1e-2);
            for (var step = 0; step < 10; step++) report = training.Step(batch, 1e-2);
            return report.Loss;
        }
        Assert.NotEqual(LossWith(0), LossWith(1));
    }

    [Fact]
    public void Supervised_RouterBalanceOfADenseModel_IsRefused()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, SapoObjective(model));
        Assert.Throws<UserErrorException>(() => learner.StartSupervised(new AdamWOptions(), 0.01));
    }

    [Fact]
    public void Step_GradientNotFinite_SkipsAndStopsAtTheThird()
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, Options, new BrokenGradient(SapoObjective(model)));
        StepReport Step(int seed) => learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 2, 4, seed), Advantages, Options with { MiniBatches = 1 }));
        var before = Weights(learner);
        Assert.NotNull(Step(5).MiniBatches[0].SkippedFor);
        Step(6);
        Assert.Equal(2, learner.SkippedUpdates);
        Assert.Contains("model.", Assert.Throws<TrainingDivergedException>(() => Step(7)).Message, StringComparison.Ordinal);
        Assert.Equal(before, Weights(learner));
    }

    private static IObjective SapoObjective(TinyModel model) => ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize);

    private static void Train(PolicyLearner learner, int steps, int firstSeed)
    {
        for (var step = 0; step < steps; step++) learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 5, 4, firstSeed + step), Advantages, Options));
    }

    private static float[] WeightsAfterSteps(TinyModel model, LearnerOptions options, IObjective objective, int steps)
    {
        using var learner = new PolicyLearner(model.Folder, options, objective);
        Train(learner, steps, firstSeed: 0);
        return Weights(learner);
    }

    private static float[] Weights(PolicyLearner learner) =>
        [.. learner.Snapshot([]).Tensors.SelectMany(tensor => MemoryMarshal.Cast<byte, float>(tensor.Data.Slice(0, (int)tensor.Data.Length).Span).ToArray())];

    private static void Near(float[] expected, float[] found, double tolerance)
    {
        for (var i = 0; i < expected.Length; i++) Assert.True(Math.Abs(expected[i] - found[i]) <= tolerance, $"weight {i}: {expected[i]:R} and {found[i]:R}");
    }

    /// <summary>From log-probs of every candidate: l(token) - log sum over the kept ids of exp(l).</summary>
    private static float[] Renormalised(PolicyLearner learner, int[] prompt, int[] tokens, int[][] kept) =>
        [.. tokens.Select((token, position) =>
        {
            int[] before = [.. prompt, .. tokens[..position]];
            double LogProb(int id) => learner.LogProbs([[.. before, id]], 1)[0][^1];
            return (float)(LogProb(token) - Math.Log(kept[position].Sum(id => Math.Exp(LogProb(id)))));
        })];

    /// <summary>The same objective, asking for the rows without a policy term.</summary>
    private sealed class KeepsSilentRows(IObjective inner) : ObjectiveDecorator(inner)
    {
        public override ObjectiveNeeds Needs => base.Needs | ObjectiveNeeds.SilentRows;
    }

    /// <summary>An objective whose gradient overflows.</summary>
    private sealed class BrokenGradient(IObjective inner) : ObjectiveDecorator(inner)
    {
        public override ObjectiveResult Evaluate(ObjectiveBatch batch)
        {
            var result = base.Evaluate(batch);
            return result with { Gradient = Array.ConvertAll(result.Gradient, _ => double.NaN) };
        }
    }
}
