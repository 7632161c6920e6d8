using Sapo.Core.Options;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout.Tests;

/// <summary>The engine as a whole, on a tiny model.</summary>
public sealed class RolloutEngineTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static readonly EngineOptions Small = new() { Slots = 6, MaxSequenceLength = 48 };

    [Theory]
    [InlineData("ort"), InlineData("genai")]
    public async Task GenerateAsync_AnySlotsChunksAndThreads_GivesTheSameBits(string session)
    {
        string[]? expected = null;
        foreach (var (slots, chunk, threads) in new[] { (1, 512, 1), (3, 4, 2), (16, 7, 2) })
        {
            await using var engine = await Start(Small with { Session = session, Slots = slots, PrefillChunk = chunk }, threads);
            var groups = await Task.WhenAll(Enumerable.Range(0, 8).Select(id => engine.GenerateAsync(
                new GenerationRequest(Prompt(id, 1 + 4 * id), 3, Kind(id) with { MaxNewTokens = 3 + id, Seed = 11 }) { Alternatives = id % 3 }, default)));
            var found = groups.SelectMany(group => group.Completions.Select(Show)).ToArray();
            Assert.Equal(expected ??= found, found);
        }
    }

    [Fact]
    public async Task GenerateAsync_EitherSession_GivesTheSameCompletions()
    {
        const float RoundingTolerance = 1e-5f; // prompts are cut differently, so sums are added in another order
        await using var direct = await Start(Small);
        await using var genAi = await Start(Small with { Session = "genai" });
        foreach (var sampling in new[] { new SamplingOptions { MaxNewTokens = 25 }, new SamplingOptions { MaxNewTokens = 25, Temperature = 0.8, TopK = 7, TopP = 0.9 }, Kind(2) with { MaxNewTokens = 25 } })
        {
            var expected = await direct.GenerateAsync(Prompt(4, 11), 5, sampling, default);
            var found = await genAi.GenerateAsync(Prompt(4, 11), 5, sampling, default);
            Assert.Equal(expected.Completions.Select(completion => completion.TokenIds), found.Completions.Select(completion => completion.TokenIds));
            Assert.Equal(expected.Completions.Select(completion => completion.KeptTokenIds), found.Completions.Select(completion => completion.KeptTokenIds));
            foreach (var (a, b) in expected.Completions.Zip(found.Completions))
                for (var i = 0; i < a.TokenIds.Length; i++) Assert.Equal(a.BehaviourLogProbs[i], b.BehaviourLogProbs[i], RoundingTolerance);
        }
        Assert.True(genAi.Counters.PromptTokensComputed > direct.Counters.PromptTokensComputed); // GenAI computes a group's prompt for each of its rows
    }

    [Theory]
    [InlineData(6, 1.0)]
    [InlineData(0, 0.8)]
    public async Task GenerateAsync_Truncated_RenormalisesOverTheKeptIds(int topK, double topP)
    {
        const double RoundingTolerance = 1e-5;
        await using var engine = await Start(Small);
        var group = await engine.GenerateAsync(Prompt(4, 11), 5, new SamplingOptions { MaxNewTokens = 12, TopK = topK, TopP = topP, StopTokenIds = [] }, default);
        foreach (var completion in group.Completions)
            for (var i = 0; i < completion.TokenIds.Length; i++)
            {
                Assert.Contains(completion.TokenIds[i], completion.KeptTokenIds![i]);
                if (topK > 0) Assert.Equal(topK, completion.KeptTokenIds[i].Length);
                var keptMass = Math.Exp(completion.UntruncatedLogProbs[i] - completion.BehaviourLogProbs[i]);
                Assert.InRange(keptMass, topK > 0 ? 0.1 : topP - RoundingTolerance, 1 - 1e-3);
            }
    }

    [Fact]
    public async Task GenerateAsync_ManySamples_DrawsFromTheModelsDistribution()
    {
        const int Samples = 4000;
        await using var engine = await Start(Small with { Slots = 64 });
        var group = await engine.GenerateAsync(Prompt(1, 6), Samples, new SamplingOptions { MaxNewTokens = 1, StopTokenIds = [] }, default);
        var drawn = group.Completions.GroupBy(completion => completion.TokenIds[0]).ToDictionary(same => same.Key, same => (Count: same.Count(), LogProb: same.First().BehaviourLogProbs[0]));
        Assert.All(group.Completions, completion => Assert.Equal(drawn[completion.TokenIds[0]].LogProb, completion.BehaviourLogProbs[0]));
        foreach (var (count, logProb) in drawn.Values)
        {
            var p = Math.Exp(logProb);
            Assert.InRange(count, Samples * p - 6 * Math.Sqrt(Samples * p * (1 - p)) - 1, Samples * p + 6 * Math.Sqrt(Samples * p * (1 - p)) + 1); // 6 standard deviations
        }
    }

    [Fact]
    public async Task GenerateAsync_StopTokens_DefaultToTheModels()
    {
        await using var engine = await Start(Small);
        var group = await engine.GenerateAsync(Prompt(3, 4), 64, new SamplingOptions { MaxNewTokens = 40 }, default);
        var stop = Assert.Single(model.Config.EndTokenIds);
        Assert.Contains(group.Completions, completion => completion.FinishReason == FinishReason.Stop);
        Assert.All(group.Completions, completion => Assert.Equal(completion.FinishReason == FinishReason.Stop, completion.TokenIds[^1] == stop));
        Assert.All(group.Completions, completion => Assert.DoesNotContain(stop, completion.TokenIds[..^1]));
    }

    [Fact]
    public async Task GenerateAsync_ContextIsFull_EndsWithLength()
    {
        await using var engine = await Start(Small with { MaxSequenceLength = 20 });
        var group = await engine.GenerateAsync(Prompt(3, 15), 2, new SamplingOptions { MaxNewTokens = 100, StopTokenIds = [] }, default);
        Assert.All(group.Completions, completion => Assert.Equal((5, FinishReason.Length), (completion.TokenIds.Length, completion.FinishReason)));
    }

    [Theory]
    [InlineData(0, 1, 0, "prompt 7 is empty")]
    [InlineData(48, 1, 0, "prompt 7 has 48 tokens")]
    [InlineData(4, 0, 0, "prompt 7: the group size is 0")]
    [InlineData(4, 1, 41, "prompt 7: topK is 41")]
    public async Task GenerateAsync_UnfitRequest_NamesThePrompt(int length, int groupSize, int topK, string expected)
    {
        await using var engine = await Start(Small);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => engine.GenerateAsync(Prompt(7, length), groupSize, new SamplingOptions { TopK = topK }, default));
        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(40), InlineData(-1)]
    public async Task GenerateAsync_TokenOutsideTheVocabulary_NamesIt(int token)
    {
        await using var engine = await Start(Small);
        var prompt = new Prompt { Id = 8, TokenIds = [1, token, 3] };
        var error = await Assert.ThrowsAsync<UserErrorException>(() => engine.GenerateAsync(prompt, 1, new SamplingOptions(), default));
        Assert.StartsWith($"prompt 8: token 1 is {token}; expected ids from 0 to 39", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GenerateAsync_StopStringsWithoutTokenizer_IsRefused()
    {
        await using var engine = await Start(Small);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => engine.GenerateAsync(Prompt(7, 3), 1, new SamplingOptions { StopStrings = ["x"] }, default));
        Assert.Contains("no tokenizer", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GenerateAsync_IdsTheTokenizerDoesNotKnow_CountAsTheReplacementCharacterForStopStrings()
    {
        var folder = Directory.CreateTempSubdirectory("sapo-tokens-");
        try
        {
            CharacterTokenizerFile.Write(folder.FullName, "0123456789", maxLength: 48);
            var tokenizer = HuggingFaceTokenizer.Load(folder.FullName);
            Assert.True(tokenizer.VocabularySize < model.Config.VocabSize);
            await using var engine = await RolloutEngine.StartAsync(model.Policy, Small, threads: 1, tokenizer, default);
            var free = await engine.GenerateAsync(Prompt(5, 4), 8, new SamplingOptions { MaxNewTokens = 30, StopTokenIds = [], StopStrings = ["never"] }, default);
            Assert.Contains(free.Completions, completion => completion.TokenIds.Any(id => id >= tokenizer.VocabularySize));
            var stopped = await engine.GenerateAsync(Prompt(5, 4), 8, new SamplingOptions { MaxNewTokens = 30, StopTokenIds = [], StopStrings = ["\uFFFD\uFFFD"] }, default);
            foreach (var completion in stopped.Completions.Where(completion => completion.FinishReason == FinishReason.StopString))
                Assert.True(completion.TokenIds[^1] >= tokenizer.VocabularySize);
            Assert.Contains(stopped.Completions, completion => completion.FinishReason == FinishReason.StopString);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task StartAsync_TooManySlots_SaysHowManyFit()
    {
        var error = await Assert.ThrowsAsync<UserErrorException>(() => Start(Small with { Slots = 1_000_000_000 }));
        Assert.Matches("expected at most [1-9][0-9,]* slots", error.Message);
    }

    [Fact]
    public async Task StartAsync_TruncatedWeights_NamesTheFile()
    {
        var policy = model.Version(50, seed: 5);
        var path = Path.Combine(policy.Folder, PublishedPolicy.WeightsFile);
        using (var file = new FileStream(path, FileMode.Open)) file.SetLength(file.Length - 100);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RolloutEngine.StartAsync(policy, Small, 1, tokenizer: null, default));
        Assert.StartsWith(path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Counters_Group_CountWhatHappened()
    {
        await using var engine = await Start(Small);
        var group = await engine.GenerateAsync(Prompt(1, 9), 6, new SamplingOptions { MaxNewTokens = 5, StopTokenIds = [] }, default);
        var counters = engine.Counters;
        Assert.Equal((8, 48, 30, 6, 6), (counters.PromptTokensComputed, counters.PromptTokensRequested, counters.GeneratedTokens, counters.Completions, counters.TruncatedCompletions));
        Assert.Equal(5, counters.DecodeSteps);
        // 6 slots, 2 idle and 4 prompt rows, 2 layers, keys and values, 2 heads of 16, 48 positions, 4 bytes
        Assert.Equal(12L * 2 * 2 * 2 * 16 * 48 * 4, counters.KeyValueBytes);
        Assert.Equal(model.Config.ParameterCount * 4, counters.WeightBytes);
        Assert.Equal(6, group.Completions.Count);
    }

    private static Prompt Prompt(long id, int length) => new() { Id = id, TokenIds = [.. Enumerable.Range(0, length).Select(i => (int)(3 + CounterRandom.Word(5, id, 0, i) % 37))] };

    /// <summary>Ways of drawing that run beside each other in one step.</summary>
    private static SamplingOptions Kind(int id) => (id % 4) switch
    {
        1 => new SamplingOptions { RepetitionPenalty = 1.3, PresencePenalty = 0.5 },
        2 => new SamplingOptions { Temperature = 0.9, TopK = 12, TopP = 0.9, MinP = 0.02, FrequencyPenalty = 0.7 },
        3 => new SamplingOptions { Temperature = 0, RepetitionPenalty = 1.5 },
        _ => new SamplingOptions(),
    };

    private static string Show(Completion completion) => string.Join(
        " | ", string.Join(' ', completion.TokenIds), Bits(completion.BehaviourLogProbs), Bits(completion.UntruncatedLogProbs),
        string.Join(' ', completion.KeptTokenIds?.SelectMany(ids => ids.Append(-1)) ?? []),
        string.Join(' ', completion.Alternatives?.Select(listed => $"{string.Join(',', listed.TokenIds)} {Bits(listed.LogProbs)}") ?? []));

    private static string Bits(float[] logProbs) => string.Join(' ', logProbs.Select(BitConverter.SingleToUInt32Bits));

    private Task<RolloutEngine> Start(EngineOptions options, int threads = 2) => RolloutEngine.StartAsync(model.Policy, options, threads, tokenizer: null, default);
}
