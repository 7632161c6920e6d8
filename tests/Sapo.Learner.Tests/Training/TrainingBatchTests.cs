using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Training;

/// <summary>What a batch refuses, and how it is cut.</summary>
public sealed class TrainingBatchTests : IDisposable
{
    private readonly TinyModel _model = new();
    private readonly PolicyLearner _learner;
    private readonly GroupAdvantage _advantages = new("grpo", AdvantageScale.Group, 1e-6);

    public TrainingBatchTests() => _learner = new PolicyLearner(_model.Folder, new LearnerOptions(), ObjectiveRegistry.Create(new ObjectiveOptions(), _model.Config.VocabSize));

    [Theory]
    [InlineData(8, 4, new[] { 2, 2, 2, 2 })]
    [InlineData(7, 3, new[] { 2, 2, 3 })]
    [InlineData(2, 4, new[] { 1, 1 })]
    public void Pack_Groups_AreCutInOrderAndWhole(int groups, int miniBatches, int[] expected)
    {
        var batch = TrainingBatch.Pack(Rollouts.Random(_learner, groups, 3, seed: 1), _advantages, new LearnerOptions { MiniBatches = miniBatches });
        Assert.Equal(expected, batch.MiniBatches.Select(miniBatch => miniBatch.Rows.Count / 3));
        Assert.All(batch.MiniBatches, miniBatch => Assert.All(miniBatch.Rows.Chunk(3), group => Assert.Single(group.Select(row => row.Prompt).Distinct())));
    }

    [Fact]
    public void Pack_RewardNaN_IsRefusedWithItsPrompt()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]) with { Rewards = [double.NaN, 0] };
        Refused(group, "42", "NaN");
    }

    [Fact]
    public void Pack_BehaviourLogProbNotFinite_IsRefusedWithItsToken()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4, 6], [5]], new Random(1), rewards: [1, 0]);
        Refused(With(group, completion => completion with { BehaviourLogProbs = [.. completion.BehaviourLogProbs.Select(_ => float.NegativeInfinity)] }), "42", "log-prob of token 0");
    }

    [Fact]
    public void Pack_TruncatedSamplingWithoutKeptIds_IsRefused()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]);
        Refused(group with { Group = group.Group with { Sampling = new SamplingOptions { TopP = 0.9 } } }, "42", "kept");
    }

    [Fact]
    public void Pack_OneCompletionWithoutKeptIds_CountsAsASequenceAndIsNotTrainedOn()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]);
        Completion[] completions = [group.Group.Completions[0] with { KeptTokenIds = [[4, 6]] }, group.Group.Completions[1]];
        var cut = group with { Group = group.Group with { Sampling = new SamplingOptions { TopP = 0.9 }, Completions = completions } };
        var rows = TrainingBatch.Pack([cut], _advantages, new LearnerOptions()).MiniBatches[0].Rows;
        Assert.Equal([false, true], rows.Select(row => row.Masked));
    }

    [Fact]
    public void Pack_SampledTokenNotKept_IsRefused()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]);
        Refused(With(group with { Group = group.Group with { Sampling = new SamplingOptions { TopK = 2 } } }, completion => completion with { KeptTokenIds = [[9, 10]] }), "42", "kept");
    }

    [Fact]
    public void Pack_GreedyCompletions_AreRefused()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]);
        Refused(group with { Group = group.Group with { Sampling = new SamplingOptions { Temperature = 0 } } }, "42", "temperature");
    }

    [Fact]
    public void Step_IdOutsideTheVocabulary_IsRefused()
    {
        var group = Rollouts.Group(_learner, 42, [3], [[4], [5]], new Random(1), rewards: [1, 0]);
        var batch = TrainingBatch.Pack([With(group, completion => completion with { TokenIds = [_model.Config.VocabSize] })], _advantages, new LearnerOptions());
        Assert.Contains("vocabulary", Assert.Throws<UserErrorException>(() => _learner.Step(batch)).Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _learner.Dispose();
        _model.Dispose();
    }

    private static ScoredGroup With(ScoredGroup group, Func<Completion, Completion> change) =>
        group with { Group = group.Group with { Completions = [.. group.Group.Completions.Select(change)] } };

    private void Refused(ScoredGroup group, params string[] mentioned)
    {
        var error = Assert.Throws<UserErrorException>(() => TrainingBatch.Pack([group], _advantages, new LearnerOptions()));
        Assert.All(mentioned, text => Assert.Contains(text, error.Message, StringComparison.Ordinal));
    }
}
