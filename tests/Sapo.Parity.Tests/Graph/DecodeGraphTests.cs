using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync;
using Sapo.Testing;

namespace Sapo.Parity.Graph;

/// <summary>The decode graph of every reference model, run by ONNX Runtime, against Hugging Face transformers.</summary>
public sealed class DecodeGraphTests : IDisposable
{
    // Another float32 implementation's rounding on logits of size about 10; a real mistake moves them by 0.5 and more.
    private const float LogProbTolerance = 5e-5f;

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-graph-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void DecodeGraph_ForcedCompletions_GivesTheReferenceLogProbs()
    {
        var checkedFolders = 0;
        foreach (var (folder, golden, policy) in Models())
        {
            using var values = SafetensorsFile.Open(Path.Combine(golden, "golden.safetensors"));
            var rows = GoldenJson(golden).GetProperty("rows").EnumerateArray().Select(Row.Read).ToArray();
            foreach (var (temperature, name) in new[] { (1f, "logp.t1"), (0.7f, "logp.t07") })
                CheckForced(policy, rows, temperature, Floats(values, name), $"{folder} {name}");
            checkedFolders++;
        }
        Golden.Report("decode graph, forced completions", checkedFolders);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void DecodeGraph_Greedy_ContinuesAsTheReference()
    {
        var continuations = 0;
        foreach (var (folder, golden, policy) in Models())
            foreach (var reference in Continuations(golden))
            {
                CheckGreedy(policy, reference, folder);
                continuations++;
            }
        Golden.Report("decode graph, greedy continuations", continuations);
    }

    private static void CheckForced(PublishedPolicy policy, Row[] rows, float temperature, float[] expected, string what)
    {
        var width = expected.Length / rows.Length;
        var longest = rows.Max(row => row.Tokens.Length);
        using var session = Open(policy, rows.Length, longest);
        var promptWidth = rows.Max(row => row.PromptLength);
        int[] lengths = [.. rows.Select(row => row.PromptLength)];
        var ids = rows.Select(row => Padded(row.Tokens[..row.PromptLength], promptWidth)).ToArray();
        var newTokens = lengths;
        for (var step = 0; ; step++)
        {
            var forced = rows.Select((row, i) => lengths[i] < row.Tokens.Length ? row.Tokens[lengths[i]] : 0L).ToArray();
            var sampled = session.Decode(ids, lengths, newTokens, Draws.Plain(rows.Length, temperature) with { Forced = forced });
            for (var i = 0; i < rows.Length; i++)
            {
                if (lengths[i] >= rows[i].Tokens.Length) continue;
                var reference = expected[i * width + lengths[i]];
                AssertClose(reference, sampled.LogProb[i], $"{what}: row {i} position {lengths[i]}");
                Assert.Equal(sampled.LogProb[i], sampled.UntruncatedLogProb[i]);
                Assert.Equal(forced[i], sampled.Token[i]);
            }
            lengths = [.. lengths.Select((length, i) => Math.Min(length + 1, rows[i].Tokens.Length))]; // a finished row idles in place
            if (rows.Select((row, i) => lengths[i] >= row.Tokens.Length).All(done => done)) return;
            ids = [.. forced.Select(token => new[] { token })];
            newTokens = [.. rows.Select(_ => 1)];
        }
    }

    private static void CheckGreedy(PublishedPolicy policy, Continuation reference, string folder)
    {
        using var session = Open(policy, 1, reference.Prompt.Length + reference.Tokens.Length);
        var input = reference.Prompt;
        var length = 0;
        for (var i = 0; i < reference.Tokens.Length; i++)
        {
            length += input.Length;
            var sampled = session.Decode([input], [length], [input.Length], Draws.Plain(1, temperature: 0));
            Assert.True(sampled.Token[0] == reference.Tokens[i], $"{folder}: greedy token {i} is {sampled.Token[0]}, reference {reference.Tokens[i]}");
            Assert.Equal(0, sampled.LogProb[0]);
            AssertClose(reference.LogProbs[i], sampled.UntruncatedLogProb[0], $"{folder}: greedy token {i}");
            input = [sampled.Token[0]];
        }
    }

    // Every folder that holds a model, with the folder its reference values lie in.
    private IEnumerable<(string Folder, string Golden, PublishedPolicy Policy)> Models()
    {
        using var index = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("hf", "models.json")));
        foreach (var model in index.RootElement.GetProperty("models").EnumerateArray())
        {
            var folder = model.GetProperty("folder").GetString()!;
            if (!Directory.Exists(Golden.PathOf("hf", folder))) continue;
            if (ModelConfigReader.Read(Golden.PathOf("hf", folder)).Mixture is not null) continue;
            var output = Path.Combine(_scratch.FullName, folder);
            var policy = Directory.Exists(output) ? PublishedPolicy.Open(output) : PolicyImporter.Import(Golden.PathOf("hf", folder), output);
            yield return (folder, Golden.PathOf("hf", model.GetProperty("golden").GetString()!), policy);
        }
    }

    private static GraphSession Open(PublishedPolicy policy, int rows, int capacity) =>
        new(Path.Combine(policy.Folder, PublishedPolicy.DecodeGraphFile), rows, capacity);

    private static IEnumerable<Continuation> Continuations(string golden) =>
        GoldenJson(golden).TryGetProperty("greedy", out var greedy) ? greedy.EnumerateArray().Select(Continuation.Read) : [];

    private static JsonElement GoldenJson(string golden)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(golden, "golden.json")));
        return document.RootElement.Clone();
    }

    private static float[] Floats(SafetensorsFile file, string name)
    {
        var entry = file.Find(name) ?? throw new InvalidDataException($"{file.Path} has no {name}");
        var values = new float[entry.Bytes / sizeof(float)];
        WeightConversion.ToSingle(file.Read(entry), entry.Type, values);
        return values;
    }

    private static long[] Padded(long[] ids, int width) => [.. ids, .. new long[width - ids.Length]];

    private static void AssertClose(float expected, float actual, string what) =>
        Assert.True(Math.Abs(expected - actual) <= LogProbTolerance, $"{what}: {actual}, reference {expected}");

    private sealed record Row(long[] Tokens, int PromptLength)
    {
        public static Row Read(JsonElement row) => new([.. row.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt64())], row.GetProperty("prompt_length").GetInt32());
    }

    private sealed record Continuation(long[] Prompt, long[] Tokens, float[] LogProbs)
    {
        public static Continuation Read(JsonElement greedy) => new(
            [.. greedy.GetProperty("prompt").EnumerateArray().Select(id => id.GetInt64())],
            [.. greedy.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt64())],
            [.. greedy.GetProperty("logp").EnumerateArray().Select(value => value.GetSingle())]);
    }
}
