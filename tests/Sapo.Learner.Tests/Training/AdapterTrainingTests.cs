using System.Runtime.InteropServices;
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;

namespace Sapo.Learner.Tests.Training;

/// <summary>Low-rank adaptation of a tiny model by every kind of training: what moves, what stays, what is published, saved and resumed.</summary>
public sealed class AdapterTrainingTests : IDisposable
{
    // The adapter's path and the merged weights are two Float32 computations; the probe of a swap allows as much.
    private const double MergedLogProbTolerance = 1e-4;

    // Float32: sums in another order differ in the last bits; a step moves a weight by about the learning rate.
    private const double SplitTolerance = 2e-5;

    private static readonly LearnerOptions Options = new()
    {
        MiniBatches = 2, LearningRate = 1e-3,
        Lora = new LoraOptions { Rank = 3, Alpha = 6, TargetModules = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"], RankPattern = new Dictionary<string, int>(StringComparer.Ordinal) { ["layers.1.mlp.up_proj"] = 2 } },
    };

    private static readonly int[][] Sequences = [[3, 4, 5, 6, 7], [8, 9, 1], [2, 2, 2, 2]];

    private static readonly GroupAdvantage Advantages = new("grpo", AdvantageScale.Group, 1e-6);

    private readonly TinyModel _model = new();

    [Fact]
    public void NewAdapter_BeforeTraining_ChangesNoBit()
    {
        using var plain = Learner(Options with { Lora = null });
        using var adapted = Learner();
        Assert.Equal(plain.LogProbs(Sequences, 1), adapted.LogProbs(Sequences, 1));
        Assert.Equal(Weights(plain), Weights(adapted));
        Assert.True(adapted.IsAdapted);
        // q, v, o, down: 3 x (16+32, 16+16, 32+16, 20+16); up: 3 x and 2 x (16+20): hidden 16, 4 heads of 8, 2 for keys, MLP 20
        Assert.Equal((2 * 3 * (48 + 32 + 48 + 36)) + (3 * 36) + (2 * 36), adapted.TrainedParameterCount);
    }

    [Fact]
    public void NewAdapter_AnotherSeed_IsAnotherAdapter()
    {
        using var first = Learner();
        using var second = Learner(seed: 2);
        Train(first, 1);
        Train(second, 1);
        Assert.NotEqual(Weights(first), Weights(second));
    }

    [Fact]
    public void EveryKindOfStep_MovesTargetsAlone_AndMergesThem()
    {
        foreach (var train in new Action<PolicyLearner>[] { learner => Train(learner, 2), Supervise, Prefer })
        {
            using var learner = Learner();
            var before = Tensors(learner);
            train(learner);
            var after = Tensors(learner);
            foreach (var (name, values) in before)
            {
                var adapted = Options.Lora!.IsTarget(name[..^".weight".Length]);
                Assert.True(adapted != values.SequenceEqual(after[name]), $"{name} {(adapted ? "did not move" : "moved")}");
            }
            var saved = Path.Combine(_model.Folder, "merged");
            learner.SaveModel(saved);
            using var merged = new PolicyLearner(saved, Options with { Lora = null }, Objective());
            AssertNear(learner.LogProbs(Sequences, 1), merged.LogProbs(Sequences, 1), MergedLogProbTolerance);
        }
    }

    [Fact]
    public void Supervised_OnOneBatch_LearnsIt()
    {
        using var learner = Learner();
        using var training = learner.StartSupervised(new AdamWOptions());
        var batch = new SupervisedBatch([new SupervisedExample([3, 4], [5, 6, 1]), new SupervisedExample([3, 9], [7, 1])]);
        var first = training.Step(batch, 1e-2);
        for (var step = 0; step < 80; step++) training.Step(batch, 1e-2);
        Assert.True(training.Step(batch, 1e-2).Loss < 0.1 * first.Loss);
    }

    [Fact]
    public void Preferences_WithAdapter_BeginAtTheReference()
    {
        using var learner = Learner();
        Supervise(learner);
        using var training = learner.StartPreferences(new AdamWOptions());
        var first = training.Step([new PreferenceExample([3, 4], [5, 6], [7])], 1e-2);
        Assert.Equal(Math.Log(2), first.Loss, 1e-6); // the margin is 0 at the reference, adapter included
        Assert.True(training.Step([new PreferenceExample([3, 4], [5, 6], [7])], 1e-2).Loss < first.Loss);
    }

    [Fact]
    public void Step_AnyMicroBatchSize_GivesTheSameAdapter()
    {
        using var whole = Learner();
        using var split = Learner(Options with { MaxTokensPerMicroBatch = 17 });
        Train(whole, 2);
        Train(split, 2);
        var (expected, found) = (Weights(whole), Weights(split));
        for (var i = 0; i < expected.Length; i++) Assert.InRange(found[i] - expected[i], -SplitTolerance, SplitTolerance);
    }

    [Fact]
    public void Step_ActivationsRecomputed_GivesTheSameAdapterBitForBit()
    {
        using var kept = Learner();
        using var recomputed = Learner(Options with { ActivationCheckpointing = true });
        Train(kept, 2);
        Train(recomputed, 2);
        Assert.Equal(Weights(kept), Weights(recomputed));
    }

    [Fact]
    public void Step_ProductsInBfloat16_PublishesWhatTheMergedModelComputesInFull()
    {
        using var learner = Learner(Options with { Dtype = LearnerOptions.Bfloat16Dtype });
        Train(learner, 2);
        var saved = Path.Combine(_model.Folder, "merged");
        learner.SaveModel(saved);
        using var merged = new PolicyLearner(saved, Options with { Lora = null }, Objective());
        AssertNear(learner.LogProbs(Sequences, 1), merged.LogProbs(Sequences, 1), MergedLogProbTolerance);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void State_SavedAndRestored_GoesOnBitForBit(bool withKl)
    {
        IObjective Made() => withKl ? Objective(new KlOptions { Beta = 0.5 }) : Objective();
        var path = Path.Combine(_model.Folder, "state");
        using var uninterrupted = Learner(objective: Made());
        Supervise(uninterrupted); // the reference is then no longer the base
        Train(uninterrupted, 2);
        uninterrupted.SaveState(path);
        Train(uninterrupted, 2, firstSeed: 2);
        using var resumed = Learner(objective: Made());
        resumed.RestoreState(path);
        Train(resumed, 2, firstSeed: 2);
        Assert.Equal(Weights(uninterrupted), Weights(resumed));
    }

    [Fact]
    public void Restore_StateOfAnotherRank_IsRefusedWithTheTensor()
    {
        var path = Path.Combine(_model.Folder, "state");
        using (var learner = Learner()) learner.SaveState(path);
        using var other = Learner(Options with { Lora = Options.Lora! with { Rank = 4 } });
        Assert.Contains("lora_A", Assert.Throws<UserErrorException>(() => other.RestoreState(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Kl_ReferencePolicies_MeasureWhatTheyName()
    {
        using var copy = new TinyModel(); // the same weights in another folder: loaded a second time
        double FirstKl(string? reference, bool supervised)
        {
            using var learner = new PolicyLearner(new PolicySource(_model.Folder) { ReferenceFolder = reference }, Options, Objective(new KlOptions { Beta = 0.1 }));
            if (supervised) Supervise(learner);
            return learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 4, seed: 3), Advantages, Options)).MiniBatches[0].Metrics["kl"];
        }
        Assert.Equal(0, FirstKl(null, supervised: true)); // the policy as it is at the first policy step
        Assert.Equal(0, FirstKl(_model.Folder, supervised: false)); // B is 0: the base is the policy
        var fromBase = FirstKl(_model.Folder, supervised: true);
        Assert.True(fromBase > 1e-6);
        Assert.Equal(FirstKl(copy.Folder, supervised: true), fromBase);
    }

    [Fact]
    public void Kl_ReferenceOfAnotherVocabularyOrMissing_IsRefused()
    {
        using var other = new TinyModel(TinyModel.Qwen3() with { VocabSize = 25 });
        foreach (var (folder, mention) in new[] { (other.Folder, "25"), (Path.Combine(_model.Folder, "nowhere"), "nowhere") })
        {
            var error = Assert.Throws<UserErrorException>(() => new PolicyLearner(new PolicySource(_model.Folder) { ReferenceFolder = folder }, Options, Objective(new KlOptions())));
            Assert.Contains(mention, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void RouterBalance_OfADenseModel_IsRefused() =>
        Assert.Contains("learner.routerBalance", Assert.Throws<UserErrorException>(() => Learner(Options with { RouterBalance = 0.01 })).Message, StringComparison.Ordinal);

    [Fact]
    public void SaveAdapter_ThenStartFromIt_IsTheSamePolicy()
    {
        var folder = Path.Combine(_model.Folder, "adapter");
        using var learner = Learner();
        Train(learner, 2);
        learner.SaveAdapter(folder);
        using var again = new PolicyLearner(new PolicySource(_model.Folder) { AdapterFolder = folder }, Options with { Lora = null }, Objective());
        Assert.Equal(learner.LogProbs(Sequences, 1), again.LogProbs(Sequences, 1));
        Assert.Equal(Weights(learner), Weights(again));
        using var config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, AdapterConfig.FileName)));
        Assert.Equal(_model.Folder, config.RootElement.GetProperty("base_model_name_or_path").GetString());
        Assert.Equal("""{"model.layers.1.mlp.up_proj":2}""", config.RootElement.GetProperty("rank_pattern").GetRawText().ReplaceLineEndings("").Replace(" ", "", StringComparison.Ordinal));
    }

    public void Dispose() => _model.Dispose();

    private PolicyLearner Learner(LearnerOptions? options = null, long seed = 1, IObjective? objective = null) =>
        new(new PolicySource(_model.Folder) { Seed = seed }, options ?? Options, objective ?? Objective());

    private IObjective Objective(KlOptions? kl = null) => ObjectiveRegistry.Create(new ObjectiveOptions { Kl = kl }, _model.Config.VocabSize);

    private static void Train(PolicyLearner learner, int steps, int firstSeed = 0)
    {
        for (var step = 0; step < steps; step++) learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 5, 4, firstSeed + step), Advantages, Options));
    }

    private static void Supervise(PolicyLearner learner)
    {
        using var training = learner.StartSupervised(new AdamWOptions());
        for (var step = 0; step < 2; step++) training.Step(new SupervisedBatch([new SupervisedExample([3, 4], [5, 6, 1])]), 1e-2);
    }

    private static void Prefer(PolicyLearner learner)
    {
        using var training = learner.StartPreferences(new AdamWOptions());
        for (var step = 0; step < 2; step++) training.Step([new PreferenceExample([3, 4], [5, 6, 1], [7, 8])], 1e-2);
    }

    private static Dictionary<string, float[]> Tensors(PolicyLearner learner) =>
        learner.Snapshot([]).Tensors.ToDictionary(tensor => tensor.Name, tensor => MemoryMarshal.Cast<byte, float>(tensor.Data.Slice(0, (int)tensor.Data.Length).Span).ToArray(), StringComparer.Ordinal);

    private static float[] Weights(PolicyLearner learner) => [.. Tensors(learner).Values.SelectMany(values => values)];

    private static void AssertNear(float[][] expected, float[][] found, double tolerance)
    {
        foreach (var (left, right) in expected.Zip(found))
            for (var i = 0; i < left.Length; i++) Assert.InRange(right[i] - left[i], -tolerance, tolerance);
    }
}
