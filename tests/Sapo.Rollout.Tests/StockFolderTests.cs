using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntimeGenAI;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
using Sapo.Rollout.Decoding;
using Sapo.Sync;
using Sapo.Testing;

namespace Sapo.Rollout.Tests;

/// <summary>Folders of GenAI's model builder, run by their own path.</summary>
public sealed class StockFolderTests(TinyModel tiny) : IClassFixture<TinyModel>, IDisposable
{
    // The stock runtime and transformers differ by up to 1.1e-5 on logits of size 5 to 8; log-probs of such logits by as much.
    private const float LogProbTolerance = 1e-4f;

    private const float RoundingTolerance = 1e-5f; // the same products in another order

    private static readonly EngineOptions Small = new() { Slots = 4 };

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-stock-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public async Task GenerateAsync_StockFolders_GiveTheReferencesTokensAndLogProbs()
    {
        var prompts = 0;
        foreach (var (folder, name) in StockFolders())
        {
            await using var engine = await StartAsync(folder);
            var rows = References(name);
            using var logits = SafetensorsFile.Open(Golden.PathOf("genai", "built", name, "logits.safetensors"));
            for (var i = 0; i < rows.Length; i++)
            {
                var group = await engine.GenerateAsync(new Prompt { Id = i, TokenIds = rows[i].Prompt }, 2, Greedy(rows[i].Tokens.Length), default);
                Assert.All(group.Completions, completion => Assert.Equal(rows[i].Tokens, completion.TokenIds));
                var last = LogSoftmax(LastRow(logits, $"prompt{i}.logits"));
                Assert.Equal(last[rows[i].Tokens[0]], group.Completions[0].UntruncatedLogProbs[0], LogProbTolerance);
                prompts++;
            }
        }
        Golden.Report("stock GenAI folders, greedy prompts", prompts);
    }

    [Fact]
    public async Task StartAsync_OwnProducts_AreRefusedByName()
    {
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RolloutEngine.StartAsync(tiny.Stock(), Small with { Prepack = "direct" }, threads: 1, tokenizer: null, default));
        Assert.Contains(PublishedPolicy.DirectGraphFile, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public async Task StartAsync_ChangedConfigurations_RunOrAreRefusedAsByGenAi()
    {
        using var probe = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("genai", "config_probe.json")));
        var (folder, name) = StockFolders().First();
        var reference = References(name)[0];
        var cases = 0;
        foreach (var row in probe.RootElement.GetProperty("rows").EnumerateArray())
        {
            var expected = row.GetProperty("result").ValueKind == JsonValueKind.String;
            var found = await RunsAsync(Changed(folder, row), reference);
            Assert.True(expected == found, $"{row.GetRawText()}: {(found ? "gave the same tokens" : "did not run")} here");
            cases++;
        }
        Golden.Report("genai_config.json with one change", cases);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void GenAi_PaddingAndLimits_AreWhatTheSessionRelysOn()
    {
        using var behaviour = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("genai", "behaviour.json")));
        var probes = behaviour.RootElement.GetProperty("rows").EnumerateArray().ToDictionary(row => row.GetProperty("probe").GetString()!, row => row.GetProperty("result"), StringComparer.Ordinal);
        using var model = new Model(StockFolders().First().Folder);
        var (prompts, alone) = (Lists(probes["ragged_prompts"]), Lists(probes["alone"]));
        var padded = Lists(probes["right_padded"].GetProperty("rows"));
        var steps = alone[0].Length;
        for (var i = 0; i < prompts.Length; i++) Assert.Equal(alone[i], Continue(model, [prompts[i]], steps)[0]);
        Assert.Equal(alone, Continue(model, padded, steps)); // the session pads on the right
        var limit = probes["batch_32"].GetInt32();
        Assert.Equal(EngineOptions.MostGenAiSlots, limit);
        Assert.ThrowsAny<Exception>(() => Continue(model, [.. Enumerable.Repeat(prompts[0], limit + 1)], 1));
        Golden.Report("GenAI's behaviour that the session relies on", prompts.Length + 2);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public async Task GenerateAsync_StockGraphOverACheckpointsWeights_GivesTheSameAsOurOwnGraph()
    {
        var graphs = Directory.GetDirectories(Golden.PathOf("genai"), "external_*");
        foreach (var graph in graphs)
        {
            var name = Path.GetFileName(graph)["external_".Length..];
            var folder = Copied(graph, "model.onnx", "genai_config.json");
            File.Copy(Golden.PathOf("genai", "models", name, "model.safetensors"), Path.Combine(folder, "model.safetensors"));
            await using var stock = await StartAsync(folder);
            var own = PolicyImporter.Import(Golden.PathOf("genai", "models", name), Path.Combine(_scratch.FullName, name + "-own"));
            await using var direct = await RolloutEngine.StartAsync(own, Small, 2, null, default);
            foreach (var sampling in Samplings().Where(sampling => sampling.MinP == 0)) // with hundreds of ids kept, one lies on the edge
            {
                var prompt = new Prompt { Id = 5, TokenIds = References(name)[0].Prompt };
                AssertSame(await direct.GenerateAsync(prompt, 6, sampling, default), await stock.GenerateAsync(prompt, 6, sampling, default), LogProbTolerance);
            }
        }
        Golden.Report("stock graphs over a checkpoint's weights", graphs.Length);
    }

    [Fact]
    public async Task GenerateAsync_StockFolder_DrawsAsOurOwnGraphWouldAndListsWhatItKept()
    {
        await using var stock = await RolloutEngine.StartAsync(tiny.Stock(), Small, 2, null, default);
        await using var direct = await RolloutEngine.StartAsync(tiny.Policy, Small, 2, null, default);
        foreach (var sampling in Samplings())
            AssertSame(
                await direct.GenerateAsync(new Prompt { Id = 2, TokenIds = [4, 9, 1, 17] }, 7, sampling, default),
                await stock.GenerateAsync(new Prompt { Id = 2, TokenIds = [4, 9, 1, 17] }, 7, sampling, default), RoundingTolerance);
    }

    [Theory]
    [InlineData("int8", "ort", "int8"), InlineData("fp32", "genai", "model builder")]
    public async Task StartAsync_StockFolderWithWhatItHasNot_IsRefusedByName(string precision, string session, string named)
    {
        var refused = await Assert.ThrowsAsync<UserErrorException>(() => RolloutEngine.StartAsync(tiny.Stock(), Small with { Precision = precision, Session = session }, 2, null, default));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task StartAsync_GraphOfAnotherForm_IsRefusedByTheInputItWants()
    {
        var folder = Copied(tiny.Stock().Folder, "genai_config.json", PublishedPolicy.WeightsFile);
        File.Copy(Path.Combine(tiny.Policy.Folder, PublishedPolicy.DecodeGraphFile), Path.Combine(folder, "model.onnx"));
        var refused = await Assert.ThrowsAsync<UserErrorException>(() => StartAsync(folder));
        Assert.Contains("attention_mask", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Import_WithoutItsGraph_IsRefusedByItsName()
    {
        var folder = Copied(tiny.Stock().Folder, "genai_config.json");
        var refused = Assert.Throws<UserErrorException>(() => StockImporter.Import(folder, folder + "-policy"));
        Assert.Contains("model.onnx", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SwapAsync_StockFolder_IsRefused()
    {
        await using var engine = await RolloutEngine.StartAsync(tiny.Stock(), Small, 2, null, default);
        await Assert.ThrowsAsync<UserErrorException>(() => engine.SwapAsync(tiny.Version(1, seed: 1), default));
    }

    private static IEnumerable<SamplingOptions> Samplings() =>
    [
        new() { MaxNewTokens = 12, StopTokenIds = [] }, new() { MaxNewTokens = 12, StopTokenIds = [], Temperature = 0.7, TopK = 5, TopP = 0.9, Seed = 3 },
        new() { MaxNewTokens = 12, StopTokenIds = [], MinP = 0.05, Seed = 4 }, Greedy(12),
    ];

    private static SamplingOptions Greedy(int tokens) => new() { Temperature = 0, MaxNewTokens = tokens, StopTokenIds = [] };

    private static void AssertSame(RolloutGroup expected, RolloutGroup found, float tolerance)
    {
        foreach (var (a, b) in expected.Completions.Zip(found.Completions))
        {
            Assert.Equal(a.TokenIds, b.TokenIds);
            Assert.Equal(a.KeptTokenIds?.Select(ids => ids.Order()), b.KeptTokenIds?.Select(ids => ids.Order())); // nearly equal ones may change places
            for (var i = 0; i < a.TokenIds.Length; i++) Assert.Equal(a.BehaviourLogProbs[i], b.BehaviourLogProbs[i], tolerance);
        }
    }

    private async Task<RolloutEngine> StartAsync(string folder) =>
        await RolloutEngine.StartAsync(StockImporter.Import(folder, Path.Combine(_scratch.FullName, Guid.NewGuid().ToString("N"))), Small, 2, null, default);

    private async Task<bool> RunsAsync(string folder, (int[] Prompt, int[] Tokens) reference)
    {
        try
        {
            await using var engine = await StartAsync(folder);
            var group = await engine.GenerateAsync(new Prompt { Id = 0, TokenIds = reference.Prompt }, 1, Greedy(reference.Tokens.Length), default);
            return group.Completions[0].TokenIds.SequenceEqual(reference.Tokens); // a context that is too short cuts it off
        }
        catch (UserErrorException)
        {
            return false;
        }
    }

    // Copies a stock folder with one entry of its configuration removed or set.
    private string Changed(string source, JsonElement row)
    {
        var folder = Copied(source, [.. Directory.GetFiles(source).Select(file => Path.GetFileName(file))]);
        var path = Path.Combine(folder, "genai_config.json");
        var root = JsonNode.Parse(File.ReadAllBytes(path))!;
        var removes = row.TryGetProperty("without", out var entry);
        var names = (removes ? entry : row.GetProperty("set")).GetString()!.Split('.');
        if (names is [.., "session_options", _, _, _]) names = [.. names[..^3], string.Join('.', names[^3..])]; // an entry's name has dots of its own
        var parent = names[..^1].Aggregate(root, (node, name) => node[name]!);
        if (removes) parent.AsObject().Remove(names[^1]);
        else parent[names[^1]] = JsonNode.Parse(row.GetProperty("to").GetRawText());
        File.WriteAllText(path, root.ToJsonString());
        return folder;
    }

    private string Copied(string source, params string[] names)
    {
        var folder = Path.Combine(_scratch.FullName, Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(folder);
        foreach (var name in names) File.Copy(Path.Combine(source, name), Path.Combine(folder, name));
        return folder;
    }

    private static int[][] Continue(Model model, int[][] prompts, int steps)
    {
        var width = prompts.Max(prompt => prompt.Length);
        using var options = new GeneratorParams(model);
        options.SetSearchOption("batch_size", prompts.Length);
        options.SetSearchOption("max_length", width + steps);
        options.SetSearchOption("do_sample", false);
        using var generator = new Generator(model, options);
        generator.AppendTokens([.. prompts.SelectMany(prompt => prompt)]);
        for (var step = 0; step < steps && !generator.IsDone(); step++) generator.GenerateNextToken();
        return [.. prompts.Select((_, row) => generator.GetSequence((ulong)row)[width..].ToArray())];
    }

    // Complete folders as the builder wrote them, with the name under which their references lie.
    private static IEnumerable<(string Folder, string Name)> StockFolders() =>
        Directory.GetDirectories(Golden.PathOf("genai"), "stock_*").Order(StringComparer.Ordinal).Select(folder => (folder, Path.GetFileName(folder)["stock_".Length..]));

    private static (int[] Prompt, int[] Tokens)[] References(string name)
    {
        using var generation = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("genai", "built", name, "generation.json")));
        return [.. generation.RootElement.GetProperty("rows").EnumerateArray().Select(row => (Ids(row.GetProperty("prompt")), Ids(row.GetProperty("tokens"))))];
    }

    private static int[][] Lists(JsonElement lists) => [.. lists.EnumerateArray().Select(Ids)];

    private static int[] Ids(JsonElement list) => [.. list.EnumerateArray().Select(id => id.GetInt32())];

    private static float[] LastRow(SafetensorsFile file, string name)
    {
        var entry = file.Find(name)!;
        return System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(file.Read(entry))[^(int)entry.Shape[^1]..].ToArray();
    }

    private static float[] LogSoftmax(float[] logits)
    {
        var largest = logits.Max();
        var total = Math.Log(logits.Sum(logit => Math.Exp(logit - largest))) + largest;
        return [.. logits.Select(logit => (float)(logit - total))];
    }
}
