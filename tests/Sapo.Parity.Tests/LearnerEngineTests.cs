using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner;
using Sapo.Learner.Objectives;
using Sapo.Rollout;
using Sapo.Sync;

namespace Sapo.Parity.Tests;

/// <summary>What the engine samples and what the learner says of it: the same weights give the same log-probs, before and after updates.</summary>
public sealed class LearnerEngineTests : IDisposable
{
    // Two Float32 computations of the same logits, by ONNX Runtime and by libtorch; the probe of a swap allows as much.
    private const double MismatchTolerance = 1e-4;

    private static readonly LearnerOptions Learner = new() { MiniBatches = 2, LearningRate = 1e-3, MaxTokensPerMicroBatch = 200 };

    private static readonly EngineOptions Engine = new() { Slots = 8, MaxSequenceLength = 48 };

    private readonly string _folder = Directory.CreateTempSubdirectory("sapo-parity-").FullName;

    public static TheoryData<string, SamplingOptions> Cases() => new()
    {
        { "qwen3", new SamplingOptions { MaxNewTokens = 12, Seed = 3 } },
        { "qwen3", new SamplingOptions { MaxNewTokens = 12, Seed = 3, Temperature = 0.7 } },
        { "qwen3", new SamplingOptions { MaxNewTokens = 12, Seed = 3, TopP = 0.8 } },
        { "qwen2", new SamplingOptions { MaxNewTokens = 12, Seed = 4, TopK = 5 } },
        { "llama", new SamplingOptions { MaxNewTokens = 12, Seed = 5, MinP = 0.1 } },
    };

    [Theory, MemberData(nameof(Cases))]
    public async Task Completions_OfTheEngine_HaveTheLearnersLogProbs(string modelType, SamplingOptions sampling)
    {
        var config = Config(modelType);
        var model = Path.Combine(_folder, "model");
        HuggingFaceFolder.Create(model, config, seed: 7, standardDeviation: 0.2);
        using var learner = new PolicyLearner(model, Learner, ObjectiveRegistry.Create(new ObjectiveOptions(), config.VocabSize));
        using var publisher = new PolicyPublisher(Path.Combine(_folder, "policies"), model, TimeProvider.System);
        int[][] probes = [[3, 4, 5, 6], [9, 8]];
        var policy = await publisher.PublishAsync(learner.Snapshot(probes), default);
        await using var engine = await RolloutEngine.StartAsync(policy, Engine, threads: 2, tokenizer: null, default);
        for (var step = 0; step < 3; step++)
        {
            var groups = await Task.WhenAll(Enumerable.Range(0, 4).Select(index =>
                engine.GenerateAsync(new Prompt { Id = (10 * step) + index, TokenIds = [3, 4 + index, 5] }, 4, sampling, default)));
            var report = learner.Step(TrainingBatch.Pack([.. groups.Select(Scored)], new GroupAdvantage("grpo", AdvantageScale.Group, 1e-6), Learner));
            Assert.True(report.Mismatch.Tokens > 0);
            Assert.InRange(report.Mismatch.LargestDifference, 0, MismatchTolerance);
            await engine.SwapAsync(await publisher.PublishAsync(learner.Snapshot(probes), default), default);
            Assert.Equal(learner.Version, engine.ActiveVersion);
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>The reward is the completion's share of even ids, so that every group has a signal.</summary>
    private static ScoredGroup Scored(RolloutGroup group)
    {
        double?[] rewards = [.. group.Completions.Select((completion, index) => (double?)(completion.TokenIds.Average(id => (id + 1) % 2) + index))];
        return new ScoredGroup(group, [.. rewards.Select(reward => (IReadOnlyList<RewardOutcome>)[RewardOutcome.Score(reward!.Value)])], rewards);
    }

    private static ModelConfig Config(string modelType) => new()
    {
        ModelType = modelType, VocabSize = 40, HiddenSize = 32, LayerCount = 2, HeadCount = 4, KeyValueHeadCount = 2, HeadSize = 16, IntermediateSize = 48, MaxPositions = 64,
        TieWordEmbeddings = modelType != "llama", QueryKeyNorm = modelType == "qwen3", QueryKeyValueBias = modelType == "qwen2", SlidingWindows = new int?[2], EndTokenIds = [2],
    };
}
