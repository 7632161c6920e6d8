using System.Text.Json;
using Sapo.Core;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>Adapters against PEFT (golden/peft): logits, log-probs, losses, gradients of every A and B, merged weights, and broken adapters.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class PeftParityTests
{
    // golden/peft/README.md, Tolerances.
    private const double LogitTolerance = 1e-4, LogProbTolerance = 5e-5, LossTolerance = 1e-5, GradientTolerance = 5e-5, GradientFloor = 1e-7, MergedTolerance = 1e-6;

    // The reference's float64 keeps rotary frequencies of float32, which moves angles by 6e-8 of their size.
    private const double Float64LossTolerance = 1e-7;

    private const string Prefix = "base_model.model.";

    public static TheoryData<string> Adapters() => [.. PeftCase.All.Select(one => one.Name)];

    private static PeftCase Case(string name) => PeftCase.All.Single(one => one.Name == name);

    [Fact]
    public void Adapters_OfTheReference_AreThere() => Golden.Report("peft: adapters", PeftCase.All.Count);

    [Theory, MemberData(nameof(Adapters))]
    public void Logits_OfAdapterAndOfMergedModel_EqualTheReference(string name)
    {
        using var scope = NewDisposeScope();
        using var adapted = PeftCase.Load(Case(name).Folder);
        using var merged = new LoadedModel(PeftCase.BaseFolder);
        foreach (var module in adapted.Adapter.Modules) adapted.Adapter.Merge(module, adapted.Parameters[module.Name + ".weight"].Value, merged.Parameters[module.Name + ".weight"].Value);
        using var golden = Case(name).Tensors();
        using var goldenBatch = PeftCase.Batch();
        var rows = GoldenRows.Read(goldenBatch);
        using var batch = new PackedTokens(rows.GroupsOfAllPositions(), CPU);
        foreach (var (model, tensor) in new[] { (adapted.Model, "logits"), (merged.Model, "logits.merged") })
        {
            var (width, vocabulary) = (golden.Shape(tensor)[1], (int)golden.Shape(tensor)[2]);
            var expected = golden.Values(tensor).Chunk(vocabulary).ToArray();
            var reference = rows.Tokens.SelectMany((tokens, row) => Enumerable.Range(0, tokens.Length).SelectMany(position => expected[row * width + position]));
            Near([.. reference], HostArrays.Double(model.Logits(batch)), LogitTolerance, tensor);
        }
    }

    [Theory, MemberData(nameof(Adapters))]
    public void LogProbs_WithAdapter_EqualTheReference(string name)
    {
        using var adapted = PeftCase.Load(Case(name).Folder);
        using var golden = Case(name).Tensors();
        using var goldenBatch = PeftCase.Batch();
        var rows = GoldenRows.Read(goldenBatch);
        using var batch = new PackedTokens(rows.Groups(1), CPU);
        Near(rows.AtCompletions(golden.Rows("logp.t1")), adapted.Model.Evaluate(batch).LogProbs, LogProbTolerance, "logp.t1");
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Gradients_OfEveryAAndB_EqualTheReference(string name)
    {
        using var adapted = PeftCase.Load(Case(name).Folder);
        using var golden = Case(name).Tensors();
        using var goldenBatch = PeftCase.Batch();
        var rows = GoldenRows.Read(goldenBatch);
        using var batch = new PackedTokens(rows.Groups(1), CPU);
        var count = batch.Targets.Length;
        var values = adapted.Train(batch, [.. Enumerable.Repeat(-1.0 / count, count)]);
        Assert.Equal(Case(name).Json.GetProperty("loss").GetDouble(), -values.LogProbs.Average(), LossTolerance);
        CompareGradients(golden, "grad.loss.", adapted);
        var weights = rows.AtCompletions(goldenBatch.Rows("weight"));
        values = adapted.Train(batch, weights);
        Assert.Equal(Case(name).Json.GetProperty("weighted_sum.t1").GetDouble(), weights.Zip(values.LogProbs, (weight, logProb) => weight * logProb).Sum(), weights.Length * LogProbTolerance);
        CompareGradients(golden, "grad.weighted_sum.", adapted);
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Loss_Float64_EqualsTheReferenceInFloat64(string name)
    {
        using var adapted = PeftCase.Load(Case(name).Folder, ScalarType.Float64);
        using var goldenBatch = PeftCase.Batch();
        using var batch = new PackedTokens(GoldenRows.Read(goldenBatch).Groups(1), CPU);
        Assert.Equal(Case(name).Json.GetProperty("loss_float64").GetDouble(), -adapted.Model.Evaluate(batch).LogProbs.Average(), Float64LossTolerance);
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Modules_RanksScalingsAndMergedWeights_AreTheReferences(string name)
    {
        using var scope = NewDisposeScope();
        using var adapted = PeftCase.Load(Case(name).Folder);
        var modules = Case(name).Json.GetProperty("modules").EnumerateObject().ToArray();
        Assert.Equal(modules.Select(module => module.Name).Order(StringComparer.Ordinal), adapted.Adapter.Modules.Select(module => module.Name).Order(StringComparer.Ordinal));
        foreach (var expected in modules)
        {
            var found = adapted.Adapter.Find(expected.Name)!;
            Assert.Equal(expected.Value.GetProperty("r").GetInt32(), found.Rank);
            Assert.Equal(expected.Value.GetProperty("scaling").GetDouble(), found.Scaling, 1e-12);
        }
        using var golden = Case(name).Tensors();
        foreach (var tensor in Case(name).Json.GetProperty("merged_tensors").EnumerateArray().Select(tensor => tensor.GetString()!))
        {
            var merged = adapted.Parameters[tensor].Value.clone();
            if (adapted.Adapter.Find(tensor[..^".weight".Length]) is { } module) adapted.Adapter.Merge(module, adapted.Parameters[tensor].Value, merged);
            Near(golden.Values("merged." + tensor), HostArrays.Double(merged), MergedTolerance, tensor);
        }
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Saved_ThenRead_IsTheSameAdapter(string name)
    {
        using var adapted = PeftCase.Load(Case(name).Folder);
        var folder = Directory.CreateTempSubdirectory("sapo-adapter-").FullName;
        try
        {
            AdapterFolder.Write(folder, adapted.Adapter, PeftCase.BaseFolder);
            using var again = PeftCase.Load(folder);
            Assert.Equal(adapted.Adapter.Modules, again.Adapter.Modules);
            Assert.Equal(HostArrays.Double(adapted.Adapter.Parameters.Values), HostArrays.Double(again.Adapter.Parameters.Values));
            using GoldenTensors saved = new(Path.Combine(folder, AdapterFolder.WeightsFile)), original = new(Path.Combine(Case(name).Folder, AdapterFolder.WeightsFile));
            Assert.Equal(original.Names.Order(StringComparer.Ordinal), saved.Names.Order(StringComparer.Ordinal));
            Assert.All(original.Names, tensor => Assert.Equal(original.Shape(tensor), saved.Shape(tensor)));
            CompareConfigurations(Path.Combine(Case(name).Folder, AdapterConfig.FileName), Path.Combine(folder, AdapterConfig.FileName));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Read_BrokenAdapters_NameWhatIsWrong()
    {
        var complaints = new List<string>();
        var cases = GoldenJson.Read("peft", "broken", "cases.json").GetProperty("cases").EnumerateArray().ToArray();
        foreach (var one in cases)
        {
            var name = one.GetProperty("folder").GetString()!;
            var message = Refusal(Golden.PathOf("peft", "broken", name));
            if (one.GetProperty("accept").GetBoolean())
            {
                if (message is not null) complaints.Add($"{name} was refused: {message}");
                continue;
            }
            if (message is null) complaints.Add($"{name} was accepted");
            else complaints.AddRange(one.GetProperty("must_mention").EnumerateArray().Select(text => text.GetString()!)
                .Where(text => !message.Contains(text, StringComparison.OrdinalIgnoreCase)).Select(text => $"{name} does not mention {text}: {message}"));
        }
        Assert.True(complaints.Count == 0, string.Join('\n', complaints));
        Golden.Report("peft: broken adapters", cases.Length);
    }

    /// <summary>Every field that is written is one of PEFT's, and those that decide what is computed have its values; patterns are written with whole names.</summary>
    private static void CompareConfigurations(string theirs, string ours)
    {
        using var expected = JsonDocument.Parse(File.ReadAllBytes(theirs));
        using var found = JsonDocument.Parse(File.ReadAllBytes(ours));
        Assert.Empty(found.RootElement.EnumerateObject().Select(field => field.Name).Except(expected.RootElement.EnumerateObject().Select(field => field.Name), StringComparer.Ordinal));
        foreach (var name in new[] { "r", "lora_alpha", "use_rslora", "peft_type", "task_type", "bias", "use_dora", "fan_in_fan_out" })
            Assert.True(JsonElement.DeepEquals(expected.RootElement.GetProperty(name), found.RootElement.GetProperty(name)), name);
        Assert.Equal(Targets(expected), Targets(found));

        static IEnumerable<string> Targets(JsonDocument config) =>
            config.RootElement.GetProperty("target_modules") is { ValueKind: JsonValueKind.Array } list ? list.EnumerateArray().Select(one => one.GetString()!).Order(StringComparer.Ordinal) : [config.RootElement.GetProperty("target_modules").GetString()!];
    }

    private static string? Refusal(string folder)
    {
        try
        {
            PeftCase.Load(folder).Dispose();
            return null;
        }
        catch (UserErrorException refusal)
        {
            return refusal.Message;
        }
    }


    private static void CompareGradients(GoldenTensors golden, string prefix, LoadedModel adapted)
    {
        var gradients = adapted.TakeGradients();
        var names = golden.Names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).ToArray();
        Assert.Equal(names.Select(name => name[(prefix + Prefix).Length..]).Order(StringComparer.Ordinal), gradients.Keys.Order(StringComparer.Ordinal));
        foreach (var name in names)
        {
            var expected = golden.Values(name);
            Near(expected, gradients[name[(prefix + Prefix).Length..]], Math.Max(GradientTolerance * expected.Max(Math.Abs), GradientFloor), name);
        }
    }

    private static void Near(double[] expected, double[] found, double tolerance, string what)
    {
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - found[i]) <= tolerance, $"{what}[{i}]: expected {expected[i]:R}, found {found[i]:R}, tolerance {tolerance:R}");
    }
}
