using System.Text.Json;
using Microsoft.ML.OnnxRuntimeGenAI;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync;

namespace Sapo.Parity.Graph;

/// <summary>A published folder is a GenAI model: the GenAI C# API loads it and continues prompts as transformers does.</summary>
public sealed class GenAiFolderTests : IDisposable
{
    private const float LogitTolerance = 1e-4f; // GenAI and transformers differ by up to 1.1e-5 on logits of size 5 to 8
    private const float LogProbTolerance = 5e-5f; // as for the decode graph

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-genai-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Model_GenAiReferencePrompts_GivesTheirLogitsAndGreedyTokens()
    {
        var prompts = 0;
        foreach (var (name, values, policy) in GenAiModels())
        {
            using var model = new Model(policy.Folder);
            using var logits = SafetensorsFile.Open(Path.Combine(values, "logits.safetensors"));
            using var generation = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(values, "generation.json")));
            var rows = generation.RootElement.GetProperty("rows").EnumerateArray().ToArray();
            for (var i = 0; i < rows.Length; i++)
            {
                var reference = GoldenModel.Floats(logits, $"prompt{i}.logits");
                CheckGreedy(model, policy, GoldenModel.Ids(rows[i].GetProperty("prompt")), GoldenModel.Ids(rows[i].GetProperty("tokens")), reference, $"{name} prompt {i}");
            }
            prompts += rows.Length;
        }
        Golden.Report("GenAI folders, prompts of its own set", prompts);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Model_HuggingFaceReferencePrompts_GivesTheirGreedyTokens()
    {
        var (prompts, leftOut) = (0, 0);
        foreach (var golden in GoldenModel.All(_scratch.FullName))
        {
            using var model = new Model(golden.Policy.Folder);
            foreach (var continuation in golden.Continuations())
            {
                if (continuation.Prompt[^1] == PadToken(golden.Policy)) // GenAI takes it for padding, whoever made the folder
                {
                    leftOut++;
                    continue;
                }
                CheckGreedy(model, golden.Policy, continuation.Prompt, continuation.Tokens, lastLogits: [], golden.Folder);
                prompts++;
            }
        }
        Golden.Report($"GenAI folders, {leftOut} prompts that end with the padding's id left out, greedy continuations", prompts);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void DecodeGraph_ForcedCompletionsThroughGenAi_GivesTheReferenceLogProbs()
    {
        var folders = 0;
        foreach (var golden in GoldenModel.All(_scratch.FullName))
        {
            CheckForced(golden);
            folders++;
        }
        Golden.Report("GenAI decode graph, forced completions", folders);
    }

    [Fact]
    public void DecodeGraph_RowsWithTheirOwnCuts_SamplesWithinThem()
    {
        var policy = ImportTiny();
        using var config = DecodeConfig(policy, vocabSize: 40);
        using var model = new Model(config);
        using var inputs = new GenAiDrawInputs(rows: 3);
        inputs.TopK[1] = 1;
        (inputs.Temperature[2], inputs.Uniform[0], inputs.Uniform[1], inputs.Uniform[2]) = (0, 0.99f, 0.99f, 0.99f);
        using var generator = Begin(model, inputs, [[5, 6], [5, 6], [5, 6]], padToken: 40, maxLength: 8);
        generator.GenerateNextToken();
        using var counts = generator.GetOutput("kept_count");
        Assert.Equal([40, 1, 40], counts.GetData<long>().ToArray());
        using var logProbs = generator.GetOutput("sampled_logprob");
        Assert.Equal(0, logProbs.GetData<float>()[1], LogProbTolerance);
        var tokens = generator.GetNextTokens().ToArray();
        Assert.Equal(tokens[2], tokens[1]); // the one id that is kept is the most likely one
        Assert.True(tokens[0] > 30, $"u = 0.99 of a nearly flat distribution gave {tokens[0]}");
    }

    private static void CheckGreedy(Model model, PublishedPolicy policy, long[] prompt, long[] expected, float[] lastLogits, string what)
    {
        using var options = new GeneratorParams(model);
        options.SetSearchOption("max_length", prompt.Length + expected.Length);
        using var generator = new Generator(model, options);
        generator.AppendTokens([.. prompt.Select(id => (int)id)]);
        generator.GenerateNextToken();
        if (lastLogits.Length > 0)
        {
            using var found = generator.GetOutput("logits");
            var row = found.GetData<float>();
            var compared = Math.Min(row.Length, lastLogits.Length); // some references hold the last position alone
            for (var i = 1; i <= compared; i++)
                Assert.True(Math.Abs(row[^i] - lastLogits[^i]) <= LogitTolerance, $"{what}: logit {row.Length - i} is {row[^i]}, reference {lastLogits[^i]}");
        }
        while (!generator.IsDone()) generator.GenerateNextToken();
        var endTokens = ModelConfigReader.Read(policy.Folder).EndTokenIds;
        var tokens = generator.GetSequence(0)[prompt.Length..].ToArray();
        var (wanted, continuation) = (BeforeEnd(expected), BeforeEnd(tokens.Select(id => (long)id))); // GenAI stops at the end token, the reference goes on
        Assert.True(wanted.SequenceEqual(continuation), $"{what}: prompt [{string.Join(", ", prompt)}] goes on [{string.Join(", ", continuation)}], the reference [{string.Join(", ", wanted)}]");

        long[] BeforeEnd(IEnumerable<long> ids) => [.. ids.TakeWhile(id => !endTokens.Contains((int)id))];
    }

    private static void CheckForced(GoldenModel golden)
    {
        var rows = golden.Rows();
        var expected = golden.Floats("logp.t1");
        var width = expected.Length / rows.Length;
        var config = ModelConfigReader.Read(golden.Policy.Folder);
        using var genAiConfig = DecodeConfig(golden.Policy, config.VocabSize);
        using var model = new Model(genAiConfig);
        using var inputs = new GenAiDrawInputs(rows.Length);
        var steps = rows.Max(row => row.Tokens.Length - row.PromptLength);
        var prompts = rows.Select(row => row.Tokens[..row.PromptLength]).ToArray();
        Force(step: 0); // appending the prompts runs the graph, and with it the first draw
        using var generator = Begin(model, inputs, prompts, padToken: config.VocabSize, rows.Max(row => row.PromptLength) + steps);
        for (var step = 0; step < steps; step++)
        {
            Force(step);
            generator.GenerateNextToken();
            using var found = generator.GetOutput("sampled_logprob");
            for (var i = 0; i < rows.Length; i++)
            {
                var position = rows[i].PromptLength + step;
                if (position >= rows[i].Tokens.Length) continue;
                var (actual, reference) = (found.GetData<float>()[i], expected[i * width + position]);
                Assert.True(Math.Abs(reference - actual) <= LogProbTolerance, $"{golden.Folder}: row {i} position {position}: {actual}, reference {reference}");
                Assert.Equal(rows[i].Tokens[position], generator.GetNextTokens()[i]);
            }
        }

        void Force(int step)
        {
            for (var i = 0; i < rows.Length; i++) inputs.Forced[i] = rows[i].PromptLength + step < rows[i].Tokens.Length ? rows[i].Tokens[rows[i].PromptLength + step] : -1;
        }
    }

    private static long PadToken(PublishedPolicy policy)
    {
        using var config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(policy.Folder, "genai_config.json")));
        return config.RootElement.GetProperty("model").GetProperty("pad_token_id").GetInt64();
    }

    // The decode graph has one id beyond the vocabulary, which ends and pads without being a token.
    private static Config DecodeConfig(PublishedPolicy policy, int vocabSize)
    {
        var config = new Config(policy.Folder);
        // One end token as a number replaces the folder's; in a list it would join them.
        config.Overlay($$"""{"model": {"vocab_size": {{vocabSize + 1}}, "eos_token_id": {{vocabSize}}, "pad_token_id": {{vocabSize}}, "decoder": {"filename": "{{PublishedPolicy.GenAiDecodeGraphFile}}"} } }""");
        return config;
    }

    private static Generator Begin(Model model, GenAiDrawInputs inputs, long[][] prompts, int padToken, int maxLength)
    {
        using var options = new GeneratorParams(model);
        options.SetSearchOption("batch_size", prompts.Length);
        options.SetSearchOption("max_length", maxLength);
        var generator = new Generator(model, options);
        inputs.Set(generator);
        var width = prompts.Max(prompt => prompt.Length);
        generator.AppendTokens([.. prompts.SelectMany(prompt => prompt.Select(id => (int)id).Concat(Enumerable.Repeat(padToken, width - prompt.Length)))]);
        return generator;
    }

    private PublishedPolicy ImportTiny()
    {
        var folder = Path.Combine(_scratch.FullName, "tiny");
        var config = new ModelConfig
        {
            ModelType = "llama", VocabSize = 40, HiddenSize = 16, LayerCount = 1, HeadCount = 1, KeyValueHeadCount = 1, HeadSize = 16, IntermediateSize = 16,
            MaxPositions = 16, SlidingWindows = [null], EndTokenIds = [1],
        };
        HuggingFaceFolder.Create(folder, config, seed: 1);
        return PolicyImporter.Import(folder, folder + "-policy");
    }

    // The folders of golden/genai whose generations are at hand. Some hold a configuration alone: their weights are those of the model the name begins with.
    private IEnumerable<(string Name, string Values, PublishedPolicy Policy)> GenAiModels()
    {
        var built = Golden.PathOf("genai", "built");
        if (!Directory.Exists(built)) yield break;
        foreach (var values in Directory.GetDirectories(built).Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileName(values).Replace("_by_hand", "", StringComparison.Ordinal);
            if (!File.Exists(Path.Combine(values, "logits.safetensors")) || !Directory.Exists(Golden.PathOf("genai", "models", name))) continue;
            var source = Path.Combine(_scratch.FullName, name + "-source");
            Directory.CreateDirectory(source);
            foreach (var folder in new[] { name, name.Split('_')[0] })
                foreach (var file in Directory.Exists(Golden.PathOf("genai", "models", folder)) ? Directory.GetFiles(Golden.PathOf("genai", "models", folder)) : [])
                    if (!File.Exists(Path.Combine(source, Path.GetFileName(file)))) File.Copy(file, Path.Combine(source, Path.GetFileName(file)));
            yield return (name, values, PolicyImporter.Import(source, Path.Combine(_scratch.FullName, name)));
        }
    }
}
