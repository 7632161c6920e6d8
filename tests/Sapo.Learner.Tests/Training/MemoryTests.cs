using System.Diagnostics;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using TorchSharp;

namespace Sapo.Learner.Tests.Training;

/// <summary>Tests that look at the whole process run alone.</summary>
[CollectionDefinition(nameof(WholeProcess), DisableParallelization = true)]
public sealed class WholeProcess;

/// <summary>Native memory has one owner and goes back: counted in tensors after one step, in resident bytes after many.</summary>
[Collection(nameof(WholeProcess))]
public sealed class MemoryTests
{
    private static readonly LearnerOptions Options = new() { MiniBatches = 2, MaxTokensPerMicroBatch = 40, LearningRate = 1e-4 };

    private static readonly GroupAdvantage Advantages = new("grpo", AdvantageScale.Group, 1e-6);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Steps_OfEveryKind_LeaveNoTensorBehind(bool adapted)
    {
        using var model = new TinyModel();
        using var learner = Learner(model, adapted);
        using var supervised = learner.StartSupervised(new AdamWOptions());
        using var preferences = learner.StartPreferences(new AdamWOptions());
        EveryKind(learner, supervised, preferences, seed: 0);
        var before = Tensors();
        EveryKind(learner, supervised, preferences, seed: 1);
        Assert.Equal(before, Tensors());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Learner_Disposed_LeavesNoTensorBehind(bool adapted)
    {
        using var model = new TinyModel();
        var before = Tensors();
        using (var learner = Learner(model, adapted))
        {
            learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 3, seed: 1), Advantages, Options));
            learner.Snapshot([]);
        }
        Assert.Equal(before, Tensors());
    }

    [Fact]
    public void Steps_AThousand_DoNotGrow()
    {
        const int warmUp = 100, steps = 1000;
        const long allowed = 24 << 20; // the managed heap breathes by some MiB; leaking one activation per step would be 100
        using var model = new TinyModel();
        using var learner = Learner(model);
        using var supervised = learner.StartSupervised(new AdamWOptions());
        SupervisedExample[] examples = [.. Enumerable.Range(0, 8).Select(index => new SupervisedExample([3, 4, 5], [.. Enumerable.Range(0, 3 + index)]))];
        for (var step = 0; step < warmUp; step++) supervised.Step(new SupervisedBatch(examples), 1e-4);
        var before = ResidentBytes();
        for (var step = 0; step < steps; step++) supervised.Step(new SupervisedBatch(examples), 1e-4);
        Assert.InRange(ResidentBytes() - before, long.MinValue, allowed);
    }

    private static PolicyLearner Learner(TinyModel model, bool adapted = false) =>
        new(model.Folder, Options with { Lora = adapted ? new LoraOptions { Rank = 2 } : null }, ObjectiveRegistry.Create(new ObjectiveOptions { Kl = new KlOptions() }, model.Config.VocabSize));

    private static void EveryKind(PolicyLearner learner, SupervisedTraining supervised, PreferenceTraining preferences, int seed)
    {
        learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 3, seed), Advantages, Options));
        supervised.Step(new SupervisedBatch([new SupervisedExample([3, 4], [5, 6])]), 1e-4);
        preferences.Step([new PreferenceExample([3, 4], [5, 6], [7])], 1e-4);
        learner.Snapshot([[3, 4, 5]]);
    }

    private static long Tensors() => DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;

    private static long ResidentBytes()
    {
        using var process = Process.GetCurrentProcess();
        return process.WorkingSet64;
    }
}
