using System.Text.Json;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
using Sapo.Sync;
using Sapo.Testing;

namespace Sapo.Rollout.Tests;

/// <summary>The whole engine against Hugging Face transformers: imported folders, probe, continuous batching.</summary>
public sealed class GoldenModelTests : IDisposable
{
    // Another float32 implementation's rounding on logits of size about 10; a real mistake moves them by 0.5 and more.
    private const float LogProbTolerance = 5e-5f;

    // Rounding may move a tiny model of large random weights by more than an engine accepts: it is refused, as it should be.
    // Of 84 such models with other seeds and shapes 2 were at int4; where rounding is wrong all are.
    private const int MostRuinedInverse = 4;

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-engine-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public async Task GenerateAsync_GreedyPromptsBesideEachOther_ContinueAsTheReference()
    {
        var continuations = 0;
        foreach (var (folder, golden, policy) in Models())
        {
            if (!golden.TryGetProperty("greedy", out var references)) continue;
            await using var engine = await Start(policy, golden);
            var groups = await Task.WhenAll(references.EnumerateArray().Select((reference, id) => engine.GenerateAsync(
                new Prompt { Id = id, TokenIds = Ids(reference.GetProperty("prompt")) }, groupSize: 2,
                new SamplingOptions { Temperature = 0, MaxNewTokens = reference.GetProperty("tokens").GetArrayLength(), StopTokenIds = [] }, default)));
            foreach (var (group, reference) in groups.Zip(references.EnumerateArray()))
            {
                var logProbs = reference.GetProperty("logp").EnumerateArray().Select(value => value.GetSingle()).ToArray();
                foreach (var completion in group.Completions)
                {
                    Assert.Equal(Ids(reference.GetProperty("tokens")), completion.TokenIds);
                    for (var i = 0; i < logProbs.Length; i++)
                        Assert.True(Math.Abs(logProbs[i] - completion.UntruncatedLogProbs[i]) <= LogProbTolerance, $"{folder}, prompt {group.Prompt.Id}, token {i}: {completion.UntruncatedLogProbs[i]}, reference {logProbs[i]}");
                }
                continuations++;
            }
        }
        Golden.Report("engine, greedy continuations", continuations);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public async Task StartAsync_ReferenceLogProbsAsProbe_PassesAndFailsWhereOneIsOff()
    {
        var models = 0;
        foreach (var (folder, golden, policy) in Models())
        {
            var probe = Probe(golden, Path.Combine(Golden.PathOf("hf"), GoldenFolders[folder], "golden.safetensors"), policy);
            await using (await Start(policy with { Manifest = policy.Manifest with { Probe = probe } }, golden)) models++;

            var last = probe.Length - 1;
            var wrong = probe[last].LogProbs.ToArray();
            wrong[^1] -= 3e-3f;
            ProbeSequence[] broken = [.. probe[..last], probe[last] with { LogProbs = wrong }];
            var error = await Assert.ThrowsAsync<SwapFailedException>(() => Start(policy with { Manifest = policy.Manifest with { Probe = broken } }, golden));
            Assert.Equal((last, wrong.Length - 1), (error.Sequence, error.Position));
            Assert.Equal(wrong[^1], (float)error.Expected);
            Assert.InRange(error.Found - error.Expected, 2.9e-3, 3.1e-3);
        }
        Golden.Report("engine, probe", models);
    }

    [Theory]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    [InlineData("int8"), InlineData("int4"), InlineData("fp16")]
    public async Task StartAsync_BelowFp32_IsOffTheReferenceByRoundingAlone(string name)
    {
        var (precision, models, ruined) = (PrecisionNames.Parse(name), 0, 0);
        foreach (var (folder, golden, exact) in Models())
        {
            if (ModelConfigReader.Read(exact.Folder).Mixture is not null && precision == Precision.Fp16) continue; // refused by name: PrecisionTests of Sapo.Sync
            var policy = PolicyImporter.Import(Golden.PathOf("hf", folder), Path.Combine(_scratch.FullName, $"{folder}-{name}"), precision: precision);
            policy = policy with { Manifest = policy.Manifest with { Probe = Probe(golden, Golden.PathOf("hf", GoldenFolders[folder], "golden.safetensors"), policy) } };
            var starting = RolloutEngine.StartAsync(policy, new EngineOptions { Slots = 2, MaxSequenceLength = Longest(golden), Precision = name }, threads: 2, tokenizer: null, default);
            models++;
            if (await Record.ExceptionAsync(() => starting) is { } refusal)
            {
                Assert.Contains("on average is expected", Assert.IsType<SwapFailedException>(refusal).Message, StringComparison.Ordinal);
                ruined++;
                continue;
            }
            await using var engine = await starting;
            Assert.InRange(engine.Mismatch!.MeanAbsolute, 1e-6, ProbeTolerance.Of(precision).Mean);
            Console.WriteLine($"golden: {folder} at {name}: mean {engine.Mismatch.MeanAbsolute:G2}, largest {engine.Mismatch.MaxAbsolute:G2} nats");
        }
        Assert.True(ruined * MostRuinedInverse <= models, $"{ruined} of {models} models are refused at {name}");
        Golden.Report($"engine at {name}, {ruined} refused for it, probe", models);
    }

    private Dictionary<string, string> GoldenFolders { get; } = new(StringComparer.Ordinal);

    // Every folder that holds a model, with its reference values.
    private IEnumerable<(string Folder, JsonElement Golden, PublishedPolicy Policy)> Models()
    {
        using var index = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("hf", "models.json")));
        foreach (var model in index.RootElement.GetProperty("models").EnumerateArray())
        {
            var folder = model.GetProperty("folder").GetString()!;
            var source = Golden.PathOf("hf", folder);
            if (!Directory.Exists(source)) continue;
            GoldenFolders[folder] = model.GetProperty("golden").GetString()!;
            using var golden = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("hf", GoldenFolders[folder], "golden.json")));
            yield return (folder, golden.RootElement.Clone(), PolicyImporter.Import(source, Path.Combine(_scratch.FullName, folder)));
        }
    }

    // Log-probs of all tokens after the first, from the reference logits.
    private static ProbeSequence[] Probe(JsonElement golden, string valuesPath, PublishedPolicy policy)
    {
        var vocabSize = ModelConfigReader.Read(policy.Folder).VocabSize;
        using var values = SafetensorsFile.Open(valuesPath);
        var entry = values.Find("logits")!;
        var logits = new float[entry.Bytes / sizeof(float)];
        WeightConversion.ToSingle(values.Read(entry), entry.Type, logits);
        return [.. golden.GetProperty("rows").EnumerateArray().Select((row, index) =>
        {
            var ids = Ids(row.GetProperty("tokens"));
            var logProbs = new float[ids.Length];
            for (var t = 1; t < ids.Length; t++)
            {
                var at = logits.AsSpan((int)(index * entry.Shape[1] + t - 1) * vocabSize, vocabSize).ToArray();
                logProbs[t] = (float)(at[ids[t]] - Math.Log(at.Sum(logit => Math.Exp(logit))));
            }
            return new ProbeSequence(ids, logProbs);
        })];
    }

    private static int[] Ids(JsonElement ids) => [.. ids.EnumerateArray().Select(id => id.GetInt32())];

    private static Task<RolloutEngine> Start(PublishedPolicy policy, JsonElement golden) =>
        RolloutEngine.StartAsync(policy, new EngineOptions { Slots = 5, MaxSequenceLength = Longest(golden), PrefillChunk = 6 }, threads: 2, tokenizer: null, default);

    // Of the rows and of the prompts with their continuations.
    private static int Longest(JsonElement golden) =>
        golden.GetProperty("rows").EnumerateArray().Select(row => row.GetProperty("tokens").GetArrayLength())
            .Concat(golden.TryGetProperty("greedy", out var greedy) ? greedy.EnumerateArray().Select(one => one.GetProperty("prompt").GetArrayLength() + one.GetProperty("tokens").GetArrayLength()) : []).Max() + 1;
}
