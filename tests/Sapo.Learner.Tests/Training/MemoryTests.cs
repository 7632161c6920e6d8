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
        var before = SettledTensors();
        EveryKind(learner, supervised, preferences, seed: 1);
        Assert.Equal(before, Tensors());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Learner_Disposed_LeavesNoTensorBehind(bool adapted)
    {
        using var model = new TinyModel();
        var before = SettledTensors();
        using (var learner = Learner(model, adapted))
        {
            learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 3, seed: 1), Advantages, Options));
            learner.Snapshot([]);
        }
        Assert.Equal(before, Tensors());
    }

    [Fact]
    public void SupervisedSteps_AThousand_DoNotGrow()
    {
        using var model = new TinyModel();
        using var learner = Learner(model);
        using var supervised = learner.StartSupervised(new AdamWOptions());
        SupervisedExample[] examples = [.. Enumerable.Range(0, 8).Select(index => new SupervisedExample([3, 4, 5], [.. Enumerable.Range(0, 3 + index)]))];
        DoesNotGrow(() => supervised.Step(new SupervisedBatch(examples), 1e-4));
    }

    [Theory]
    [InlineData(false, LearnerOptions.FullDtype)]
    [InlineData(true, LearnerOptions.Bfloat16Dtype)]
    public void PolicySteps_AThousand_DoNotGrow(bool checkpointing, string dtype)
    {
        using var model = new TinyModel();
        var options = Options with { MiniBatches = 1, ActivationCheckpointing = checkpointing, Dtype = dtype };
        using var learner = new PolicyLearner(model.Folder, options, ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize));
        var batch = TrainingBatch.Pack(Rollouts.Random(learner, 2, 4, seed: 3), Advantages, options);
        DoesNotGrow(() => learner.Step(batch));
    }

    private static void DoesNotGrow(Action step)
    {
        const int warmUp = 100, steps = 1000;
        const long allowed = 24 << 20; // native heaps and the runtime breathe by some MiB; leaking one activation per step would be 100
        const long allowedManaged = 1 << 20; // a leak of 1 KiB per step
        for (var index = 0; index < warmUp; index++) step();
        var (tensors, before, managed) = (SettledTensors(), NativeBytes(), GC.GetTotalMemory(forceFullCollection: true));
        for (var index = 0; index < steps; index++) step();
        Assert.Equal(tensors, Tensors());
        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true) - managed, long.MinValue, allowedManaged);
        Assert.InRange(NativeBytes() - before, long.MinValue, allowed);
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

    /// <summary>Of all threads: a step computes on several.</summary>
    private static long Tensors() => torch.Tensor.TotalCount;

    /// <summary>Without those that other tests left to the collector: they would go while this one counts.</summary>
    private static long SettledTensors()
    {
        GC.GetTotalMemory(forceFullCollection: true);
        GC.WaitForPendingFinalizers();
        return Tensors();
    }

    /// <summary>Resident memory without the managed heap, which takes as much as the processor's cache is large before it collects.</summary>
    private static long NativeBytes()
    {
        GC.GetTotalMemory(forceFullCollection: true);
        using var process = Process.GetCurrentProcess();
        return process.WorkingSet64 - GC.GetGCMemoryInfo(GCKind.Any).TotalCommittedBytes;
    }
}
