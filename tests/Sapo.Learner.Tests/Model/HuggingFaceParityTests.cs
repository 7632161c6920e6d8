using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>
/// The decoder against Hugging Face transformers (golden/hf): every architecture, sharded and half-precision folders, logits,
/// log-probs, entropies, losses, every gradient, shared prompts, greedy continuations.
/// </summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class HuggingFaceParityTests
{
    // The reference's own float32 is within 4e-5, 2e-5 and 1e-5 of float64 in logits, log-probs and relative gradients; another
    // float32 computation adds its own rounding (golden/hf/README.md, Tolerances).
    private const double LogitTolerance = 1e-4, LogProbTolerance = 5e-5, LossTolerance = 1e-5, GradientTolerance = 5e-5, GradientFloor = 1e-7;

    // Two float64 computations that differ in the order of their sums.
    private const double Float64LossTolerance = 1e-12;

    public static TheoryData<string> Folders() => [.. HuggingFaceCase.All.Select(one => one.Folder)];

    private static HuggingFaceCase Case(string folder) => HuggingFaceCase.All.Single(one => one.Folder == folder);

    [Fact]
    public void Folders_OfTheReference_AreThere() => Golden.Report("hf: folders", HuggingFaceCase.All.Count);

    [Theory, MemberData(nameof(Folders))]
    public void Logits_EveryRealPosition_EqualTheReference(string folder)
    {
        using var scope = NewDisposeScope();
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        using var golden = Case(folder).Tensors();
        var rows = GoldenRows.Read(golden);
        using var batch = new PackedTokens(rows.GroupsOfAllPositions(), CPU);
        var (width, vocabulary) = (golden.Shape("logits")[1], (int)golden.Shape("logits")[2]);
        var expected = golden.Values("logits").Chunk(vocabulary).ToArray();
        var reference = rows.Tokens.SelectMany((tokens, row) => Enumerable.Range(0, tokens.Length).SelectMany(position => expected[row * width + position]));
        Near([.. reference], HostArrays.Double(loaded.Model.Logits(batch)), Case(folder).Tolerance(LogitTolerance, "logits"), "logits");
    }

    [Theory, MemberData(nameof(Folders))]
    public void LogProbsAndEntropies_EveryTemperature_EqualTheReference(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath, headChunkBytes: 4096); // several chunks of the head
        using var golden = Case(folder).Tensors();
        var rows = GoldenRows.Read(golden);
        string[] names = [.. golden.Names.Where(name => name.StartsWith("entropy.", StringComparison.Ordinal)).Select(name => name["entropy.".Length..])];
        Assert.NotEmpty(names);
        foreach (var name in names)
        {
            using var batch = new PackedTokens(rows.Groups(Temperature(name)), CPU);
            var values = loaded.Model.Evaluate(batch);
            Near(rows.AtCompletions(golden.Rows("logp." + name)), values.LogProbs, Case(folder).Tolerance(LogProbTolerance, "logp"), "logp." + name);
            Near(rows.AtCompletions(golden.Rows("entropy." + name)), values.Entropies, Case(folder).Tolerance(LogProbTolerance, "logp"), "entropy." + name);
        }
    }

    [Theory, MemberData(nameof(Folders))]
    public void Loss_Float64_EqualsTheReferenceInFloat64(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath, ScalarType.Float64);
        using var golden = Case(folder).Tensors();
        using var batch = new PackedTokens(GoldenRows.Read(golden).Groups(1), CPU);
        var expected = Case(folder).Json.GetProperty("float64").GetProperty("loss.exact_rotary").GetDouble();
        Assert.Equal(expected, -loaded.Model.Evaluate(batch).LogProbs.Average(), Float64LossTolerance);
    }

    [Theory, MemberData(nameof(Folders))]
    public void Gradients_OfLoss_EqualTheReference(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        using var golden = Case(folder).Tensors();
        using var batch = new PackedTokens(GoldenRows.Read(golden).Groups(1), CPU);
        var count = batch.Targets.Length;
        var values = loaded.Train(batch, Enumerable.Repeat(-1.0 / count, count).ToArray(), null);
        Assert.Equal(Case(folder).Json.GetProperty("float32").GetProperty("loss").GetDouble(), -values.LogProbs.Average(), LossTolerance);
        CompareGradients(Case(folder), golden, "grad.loss.", loaded.TakeGradients());
    }

    [Theory, MemberData(nameof(Folders))]
    public void Gradients_OfWeightedSums_EqualTheReference(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        using var golden = Case(folder).Tensors();
        var rows = GoldenRows.Read(golden);
        var weights = rows.AtCompletions(golden.Rows("weight"));
        if (Has(golden, "grad.weighted_sum."))
        {
            using var batch = new PackedTokens(rows.Groups(1), CPU);
            loaded.Train(batch, weights, null);
            CompareGradients(Case(folder), golden, "grad.weighted_sum.", loaded.TakeGradients());
        }
        if (Has(golden, "grad.mixed."))
        {
            var mixed = Case(folder).Json.GetProperty("float32").EnumerateObject().Single(value => value.Name.StartsWith("mixed.", StringComparison.Ordinal)).Name;
            using var batch = new PackedTokens(rows.Groups(Temperature(mixed["mixed.".Length..])), CPU);
            loaded.Train(batch, weights, rows.AtCompletions(golden.Rows("entropy_weight")));
            CompareGradients(Case(folder), golden, "grad.mixed.", loaded.TakeGradients());
        }
    }

    [Theory, MemberData(nameof(Folders))]
    public void Gradients_OfRouterBalance_EqualTheReference(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        using var golden = Case(folder).Tensors();
        if (!Case(folder).Json.GetProperty("float32").TryGetProperty("router_aux_loss", out var auxiliary)) return;
        var rows = GoldenRows.Read(golden);
        using var batch = new PackedTokens(rows.GroupsOfAllPositions(), CPU); // the balance counts all real tokens
        var completionTokens = rows.CompletionPositions.Sum(positions => positions.Length);
        double[] slopes = [.. rows.Tokens.SelectMany((tokens, row) => Enumerable.Range(1, tokens.Length).Select(position => rows.CompletionPositions[row].Contains(position) ? -1.0 / completionTokens : 0))];
        var coefficient = Case(folder).Json.GetProperty("float32").GetProperty("router_aux_loss_coef").GetDouble();
        using var pass = loaded.Model.Forward(batch);
        using var scope = NewDisposeScope();
        Assert.Equal(auxiliary.GetDouble(), pass.Balance(loaded.Model.Config.Mixture!).Loss, LossTolerance);
        loaded.Model.Backward(pass, new HeadSlopes(slopes), coefficient);
        if (Has(golden, "grad.loss_with_aux.")) CompareGradients(Case(folder), golden, "grad.loss_with_aux.", loaded.TakeGradients());
    }

    [Theory, MemberData(nameof(Folders))]
    public void Group_PromptComputedOnce_EqualsTheRepeatedPrompt(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        using var golden = Case(folder).Tensors();
        if (!golden.Has("group.input_ids")) return;
        var rows = GoldenRows.Read(golden, "group.");
        using var batch = new PackedTokens([rows.AsGroup(1)], CPU);
        Assert.True(batch.TokenCount < rows.Tokens.Sum(tokens => tokens.Length - 1), "the prompt was computed more than once");
        var values = loaded.Train(batch, rows.AtCompletions(golden.Rows("group.weight")), null);
        Near(rows.AtCompletions(golden.Rows("group.logp.t1")), values.LogProbs, Case(folder).Tolerance(LogProbTolerance, "logp"), "group.logp.t1");
        CompareGradients(Case(folder), golden, "grad.group.", loaded.TakeGradients());
    }

    [Theory, MemberData(nameof(Folders))]
    public void Greedy_Continuation_IsTheReferences(string folder)
    {
        using var loaded = new LoadedModel(Case(folder).FolderPath);
        if (!Case(folder).Json.TryGetProperty("greedy", out var cases)) return;
        foreach (var greedy in cases.EnumerateArray())
        {
            int[] expected = [.. greedy.GetProperty("tokens").Flat().Select(token => (int)token)];
            List<int> sequence = [.. greedy.GetProperty("prompt").Flat().Select(token => (int)token)];
            var logProbs = greedy.GetProperty("logp").Flat();
            for (var step = 0; step < expected.Length; step++)
            {
                using var scope = NewDisposeScope();
                using var batch = new PackedTokens([new TokenGroup([.. sequence], [new TokenRow([0])], 1)], CPU);
                var logits = HostArrays.Double(loaded.Model.Logits(batch));
                var best = Array.IndexOf(logits, logits.Max());
                Assert.Equal(expected[step], best);
                Assert.Equal(logProbs[step], -Math.Log(logits.Sum(logit => Math.Exp(logit - logits[best]))), LogProbTolerance);
                sequence.Add(best);
            }
        }
    }

    /// <summary>The reference writes temperature 0.7 as t07 and 1 as t1: the point comes after the first digit.</summary>
    private static double Temperature(string name) => double.Parse($"{name[1]}.{name[2..]}0", System.Globalization.CultureInfo.InvariantCulture);

    private static bool Has(GoldenTensors golden, string prefix) => golden.Names.Any(name => name.StartsWith(prefix, StringComparison.Ordinal));

    private static void CompareGradients(HuggingFaceCase one, GoldenTensors golden, string prefix, Dictionary<string, double[]> gradients)
    {
        var names = golden.Names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(names);
        var tolerance = one.Tolerance(GradientTolerance, "relative_to_tensor_max");
        foreach (var name in names)
        {
            var expected = golden.Values(name);
            Near(expected, gradients[name[prefix.Length..]], tolerance * expected.Max(Math.Abs) + GradientFloor, name);
        }
    }

    private static void Near(double[] expected, double[] found, double tolerance, string what)
    {
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - found[i]) <= tolerance, $"{what}[{i}] is {found[i]:R}, the reference has {expected[i]:R}; tolerance {tolerance:R}");
    }
}
