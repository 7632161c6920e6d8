using System.Text.Json;
using Sapo.Core.Models;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>One folder of golden/hf: a checkpoint, and where its reference values lie.</summary>
internal sealed record HuggingFaceCase(string Folder, string GoldenFolder)
{
    /// <summary>Every folder of models.json that is there.</summary>
    public static IReadOnlyList<HuggingFaceCase> All { get; } =
        [.. GoldenJson.Read("hf", "models.json").GetProperty("models").EnumerateArray()
            .Select(model => new HuggingFaceCase(model.GetProperty("folder").GetString()!, model.GetProperty("golden").GetString()!))
            .Where(one => Directory.Exists(one.FolderPath))];

    public string FolderPath => Golden.PathOf("hf", Folder);

    public JsonElement Json => GoldenJson.Read("hf", GoldenFolder, "golden.json");

    /// <summary>A tolerance, or more where the reference's own float32 is further from its float64 than is usual: golden.json says how far.</summary>
    /// <param name="usual">The tolerance.</param>
    /// <param name="names">What the reference's error is called: a part of its name.</param>
    public double Tolerance(double usual, string names)
    {
        const double AnotherOrder = 3; // two right computations differ in the order of their sums
        var errors = Json.TryGetProperty("rounding_float32_vs_float64", out var rounding)
            ? rounding.EnumerateObject().Where(error => error.Name.Contains(names, StringComparison.Ordinal)).Select(error => error.Value.GetDouble()) : [];
        return errors.Aggregate(usual, (most, error) => Math.Max(most, AnotherOrder * error));
    }

    public GoldenTensors Tensors() => new(Golden.PathOf("hf", GoldenFolder, "golden.safetensors"));

    public override string ToString() => Folder;
}

/// <summary>A checkpoint loaded into a model; with an adapter it is frozen.</summary>
internal sealed class LoadedModel : IDisposable
{
    public LoadedModel(string folder, ScalarType precision = ScalarType.Float32, long headChunkBytes = LanguageHead.DefaultChunkBytes, Func<ModelConfig, LowRankAdapter>? adapter = null, ComputeOptions? compute = null)
    {
        using var checkpoint = HuggingFaceCheckpoint.Open(folder);
        Parameters = new FlatParameters(checkpoint.Config, precision, CPU, frozen: adapter is not null);
        Parameters.Load(checkpoint);
        Weights = new PolicyWeights(Parameters, adapter?.Invoke(checkpoint.Config), compute);
        Model = new DecoderModel(checkpoint.Config, Weights, headChunkBytes);
    }

    public PolicyWeights Weights { get; }

    public LowRankAdapter Adapter => Weights.Adapter!;

    public FlatParameters Parameters { get; }

    public DecoderModel Model { get; }

    /// <summary>One pass forward and backward, as a learner makes it: the head goes from span to span.</summary>
    /// <returns>The values of all targets.</returns>
    public HeadResult Train(PackedTokens batch, double[] slopes, double[]? entropySlopes = null, double routerBalance = 0, Action<ForwardPass>? look = null)
    {
        using var pass = Model.Forward(batch);
        look?.Invoke(pass);
        var (logProbs, entropies) = (new List<double>(), new List<double>());
        using var headInput = Model.TrainHead(pass, span =>
        {
            Assert.Equal(logProbs.Count, span.FirstToken);
            logProbs.AddRange(span.Values.LogProbs);
            entropies.AddRange(span.Values.Entropies);
            return new HeadSlopes(slopes[span.FirstToken..logProbs.Count], entropySlopes?[span.FirstToken..logProbs.Count]);
        });
        Model.BackwardLayers(pass, headInput, routerBalance);
        return new HeadResult([.. logProbs], [.. entropies]);
    }

    /// <summary>The gradient of every trained tensor; afterwards all gradients are zero.</summary>
    public Dictionary<string, double[]> TakeGradients()
    {
        var gradients = Weights.Trained.InCheckpointOrder.ToDictionary(
            slot => slot.Name, slot => HostArrays.Double(Weights.Trained[slot.Name].Gradient!), StringComparer.Ordinal);
        Weights.Trained.Gradients.zero_();
        return gradients;
    }

    public void Dispose()
    {
        Weights.Adapter?.Dispose();
        Parameters.Dispose();
    }
}

/// <summary>The rows of a padded reference batch without their padding.</summary>
internal sealed record GoldenRows(int[][] Tokens, int[] PromptLengths, int[][] CompletionPositions)
{
    /// <summary>From input_ids, attention_mask and completion_mask, with a prefix such as "group.".</summary>
    public static GoldenRows Read(GoldenTensors golden, string prefix = "")
    {
        var (ids, real, completion) = (golden.Rows(prefix + "input_ids"), golden.Rows(prefix + "attention_mask"), golden.Rows(prefix + "completion_mask"));
        int[][] positions = [.. completion.Select(row => Enumerable.Range(0, row.Length).Where(position => row[position] != 0).ToArray())];
        return new GoldenRows(
            [.. ids.Zip(real, (row, mask) => row.Take(mask.Count(value => value != 0)).Select(id => (int)id).ToArray())],
            [.. positions.Zip(real, (row, mask) => row.Length > 0 ? row[0] : mask.Count(value => value != 0))], positions);
    }

    /// <summary>Every row that has a completion as a group of its own.</summary>
    public TokenGroup[] Groups(double temperature) =>
        [.. Tokens.Zip(PromptLengths, (Row, Prompt) => (Row, Prompt)).Where(one => one.Prompt < one.Row.Length)
            .Select(one => new TokenGroup(one.Row[..one.Prompt], [new TokenRow(one.Row[one.Prompt..])], temperature))];

    /// <summary>All rows as completions of the one prompt they share.</summary>
    public TokenGroup AsGroup(double temperature) =>
        new(Tokens[0][..PromptLengths[0]], [.. Tokens.Select((row, index) => new TokenRow(row[PromptLengths[index]..]))], temperature);

    /// <summary>Every row from its first token on, with one more token at its end, so that all real positions predict something.</summary>
    public TokenGroup[] GroupsOfAllPositions() =>
        [.. Tokens.Select(row => new TokenGroup(row[..1], [new TokenRow([.. row[1..], 0])], 1))];

    /// <summary>The values of a padded tensor at the completion tokens, row by row.</summary>
    public double[] AtCompletions(double[][] padded) =>
        [.. CompletionPositions.SelectMany((positions, row) => positions.Select(position => padded[row][position]))];
}
