using static Sapo.Rollout.Tests.Scheduling.SchedulerHarness;

namespace Sapo.Rollout.Tests.Scheduling;

/// <summary>How completions end and what they carry.</summary>
public sealed class CompletionEndTests
{
    [Fact]
    public async Task GenerateAsync_StopToken_EndsWithIt()
    {
        await using var harness = new SchedulerHarness(slots: 4);
        var free = (await harness.Generate(Prompt(1, 3), groupSize: 1, maxNewTokens: 30)).Completions[0];
        Assert.Equal((FinishReason.Length, 30), (free.FinishReason, free.TokenIds.Length));
        var stop = free.TokenIds[7];
        var request = new GenerationRequest(Prompt(1, 3), 1, new SamplingOptions { StopTokenIds = [stop] });
        var stopped = (await harness.Generate(request, maxNewTokens: 30)).Completions[0];
        Assert.Equal(FinishReason.Stop, stopped.FinishReason);
        Assert.Equal(free.TokenIds[..(Array.IndexOf(free.TokenIds, stop) + 1)], stopped.TokenIds);
    }

    [Fact]
    public async Task GenerateAsync_StopStringOverSeveralTokens_EndsWhereItIsComplete()
    {
        await using var harness = new SchedulerHarness(slots: 2, textDecoder: () => id => $"<{id}>");
        var free = (await harness.Generate(Prompt(1, 3), groupSize: 1, maxNewTokens: 30)).Completions[0].TokenIds;
        var request = new GenerationRequest(Prompt(1, 3), 1, new SamplingOptions { StopStrings = ["never", $"{free[8]}><{free[9]}"] });
        var stopped = (await harness.Generate(request, maxNewTokens: 30)).Completions[0];
        Assert.Equal(FinishReason.StopString, stopped.FinishReason);
        Assert.Equal(free[..stopped.TokenIds.Length], stopped.TokenIds);
        Assert.Equal([free[8], free[9]], stopped.TokenIds[^2..]);
    }

    [Fact]
    public async Task GenerateAsync_NothingTruncated_SharesTheLogProbs()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var completion = (await harness.Generate(Prompt(1, 3), groupSize: 1, maxNewTokens: 5)).Completions[0];
        Assert.Same(completion.BehaviourLogProbs, completion.UntruncatedLogProbs);
        Assert.Null(completion.KeptTokenIds);
        Assert.Equal([new VersionSpan(0, 5, default)], completion.VersionSpans);
    }

    [Fact]
    public async Task GenerateAsync_TopK_CarriesTheKeptIdsOfEachToken()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var plain = harness.Generate(Prompt(2, 3), groupSize: 1, maxNewTokens: 9); // beside it, untouched by its neighbour's truncation
        var completion = (await harness.Generate(new GenerationRequest(Prompt(1, 3), 1, new SamplingOptions { TopK = 4 }), maxNewTokens: 9)).Completions[0];
        Assert.Equal(9, completion.KeptTokenIds!.Length);
        for (var i = 0; i < 9; i++)
        {
            Assert.Equal(4, completion.KeptTokenIds[i].Length);
            Assert.Contains(completion.TokenIds[i], completion.KeptTokenIds[i]);
            Assert.True(completion.BehaviourLogProbs[i] > completion.UntruncatedLogProbs[i]);
        }
        Assert.Null((await plain).Completions[0].KeptTokenIds);
    }

    [Fact]
    public async Task GenerateAsync_Greedy_CarriesTheModelsLogProbs()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var completion = (await harness.Generate(new GenerationRequest(Prompt(1, 3), 1, new SamplingOptions { Temperature = 0 }), maxNewTokens: 5)).Completions[0];
        Assert.All(completion.BehaviourLogProbs, logProb => Assert.Equal(0, logProb));
        Assert.All(completion.UntruncatedLogProbs, logProb => Assert.True(logProb < 0));
    }

    [Fact]
    public async Task GenerateAsync_Callbacks_SeeEveryTokenAndCompletion()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var tokens = new List<SampledToken>();
        var finished = new List<Completion>();
        var request = new GenerationRequest(Prompt(1, 3), 3, new SamplingOptions()) { TokenSampled = tokens.Add, CompletionFinished = finished.Add };
        var group = await harness.Generate(request, maxNewTokens: 6);
        Assert.Equal(group.Completions, finished.OrderBy(completion => completion.SampleIndex));
        foreach (var completion in group.Completions)
        {
            var seen = tokens.Where(token => token.SampleIndex == completion.SampleIndex).ToArray();
            Assert.Equal(Enumerable.Range(0, 6), seen.Select(token => token.Position));
            Assert.Equal(completion.TokenIds, seen.Select(token => token.TokenId));
            Assert.Equal(completion.BehaviourLogProbs, seen.Select(token => token.LogProb));
            Assert.Equal(completion.UntruncatedLogProbs, seen.Select(token => token.UntruncatedLogProb));
        }
    }
}
