using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Parity.Graph;
using Sapo.Rollout;
using Sapo.Sync;

namespace Sapo.Parity;

/// <summary>What the engine says of its tokens against a computation on the host, in float64, from the full logits of model.onnx.</summary>
public sealed class HostLogProbTests : IDisposable
{
    private const double LogProbTolerance = 1e-5; // two float32 forwards of the same weights that add in different orders
    private const double UnsafeMargin = 1e-5; // a threshold this near to a token may fall either way

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-host-");

    public void Dispose() => _scratch.Delete(recursive: true);

    public static TheoryData<string, SamplingOptions> EveryOption() => new()
    {
        { "plain", new SamplingOptions() },
        { "temperature", new SamplingOptions { Temperature = 0.7 } },
        { "greedy", new SamplingOptions { Temperature = 0 } },
        { "top-k", new SamplingOptions { TopK = 7 } },
        { "top-p", new SamplingOptions { TopP = 0.8 } },
        { "min-p", new SamplingOptions { MinP = 0.05 } },
        { "all cuts", new SamplingOptions { Temperature = 1.3, TopK = 90, TopP = 0.9, MinP = 0.02 } },
        { "min-p first", new SamplingOptions { Temperature = 1.3, TopK = 90, TopP = 0.7, MinP = 0.05, MinPFirst = true } },
        { "wide", new SamplingOptions { Temperature = 3, TopP = 0.999 } }, // beyond the candidates that are sorted first
        { "repetition", new SamplingOptions { RepetitionPenalty = 1.3 } },
        { "frequency", new SamplingOptions { FrequencyPenalty = 1.5 } },
        { "presence", new SamplingOptions { PresencePenalty = -1 } },
        { "greedy with penalties", new SamplingOptions { Temperature = 0, RepetitionPenalty = 1.2, FrequencyPenalty = 0.3 } },
        { "everything", new SamplingOptions { Temperature = 0.8, TopK = 50, TopP = 0.95, MinP = 0.01, RepetitionPenalty = 1.2, FrequencyPenalty = 0.4, PresencePenalty = 0.2 } },
    };

    [Theory]
    [MemberData(nameof(EveryOption))]
    public async Task GenerateAsync_AnyOption_TellsWhatTheHostComputesFromFullLogits(string what, SamplingOptions sampling)
    {
        const int Vocabulary = 600, Positions = 64;
        var source = Path.Combine(_scratch.FullName, "weights");
        HuggingFaceFolder.Create(
            source,
            new ModelConfig
            {
                ModelType = "qwen3", VocabSize = Vocabulary, HiddenSize = 32, LayerCount = 2, HeadCount = 4, KeyValueHeadCount = 2, HeadSize = 16, IntermediateSize = 48,
                MaxPositions = Positions, TieWordEmbeddings = true, QueryKeyNorm = true, SlidingWindows = [null, null], EndTokenIds = [2],
            },
            seed: 4, standardDeviation: 0.3);
        var policy = PolicyImporter.Import(source, Path.Combine(_scratch.FullName, "policy"));
        var prompt = new Prompt { Id = 3, TokenIds = [5, 17, 99, 5, 300, 41] };
        await using var engine = await RolloutEngine.StartAsync(policy, new EngineOptions { Slots = 3, MaxKeptIds = Vocabulary }, threads: 1, tokenizer: null, default);
        var request = new GenerationRequest(prompt, 3, sampling with { MaxNewTokens = 20, Seed = 9, StopTokenIds = [] }) { Alternatives = 5 };
        using var logits = new GraphSession(Path.Combine(policy.Folder, "model.onnx"), rows: 1, Positions);
        foreach (var completion in (await engine.GenerateAsync(request, default)).Completions)
            Compare(completion, prompt, sampling, logits.Logits([.. prompt.TokenIds.Concat(completion.TokenIds).Select(id => (long)id)]), what);
    }

    private static void Compare(Completion completion, Prompt prompt, SamplingOptions sampling, float[][] logits, string what)
    {
        for (var at = 0; at < completion.TokenIds.Length; at++)
        {
            var options = new SamplingCase
            {
                Temperature = (float)sampling.Temperature, TopK = sampling.TopK, TopP = (float)sampling.TopP, MinP = (float)sampling.MinP, MinPFirst = sampling.MinPFirst,
                Repetition = (float)sampling.RepetitionPenalty, Frequency = (float)sampling.FrequencyPenalty, Presence = (float)sampling.PresencePenalty,
                Prompt = [.. prompt.TokenIds.Select(id => (long)id)], Output = [.. completion.TokenIds[..at].Select(id => (long)id)],
            };
            var expected = ReferenceDistribution.Of(logits[prompt.TokenIds.Length - 1 + at], options);
            var token = completion.TokenIds[at];
            Close(expected.Untruncated[token], completion.UntruncatedLogProbs[at], $"{what}: token {at} before truncation");
            var alternatives = completion.Alternatives![at];
            Assert.Equal(5, alternatives.TokenIds.Distinct().Count());
            foreach (var (id, logProb) in alternatives.TokenIds.Zip(alternatives.LogProbs)) Close(expected.Untruncated[id], logProb, $"{what}: alternative {id} of token {at}");
            Close(expected.Untruncated.Max(), alternatives.LogProbs[0], $"{what}: likeliest of token {at}");
            if (sampling.Temperature == 0) Assert.Equal((alternatives.TokenIds[0], 0f), (token, completion.BehaviourLogProbs[at]));
            if (sampling.Temperature == 0 || expected.Margin < UnsafeMargin) continue;
            Close(expected.Final[token], completion.BehaviourLogProbs[at], $"{what}: token {at}");
            if (sampling.Truncates) Assert.Equal(expected.Kept, completion.KeptTokenIds![at].Order());
        }
    }

    private static void Close(double expected, float found, string what) => Assert.True(Math.Abs(expected - found) <= LogProbTolerance, $"{what}: {found}, host {expected}");
}
