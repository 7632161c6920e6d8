using System.Text.Json;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Losses, gradients and mismatch weights of TRL's and verl's own code (golden/losses), float64.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenLibraryLossTests
{
    /// <summary>TRL computes the same sums in another order.</summary>
    private const double TrlTolerance = 1e-11;

    /// <summary>verl adds 1e-8 to token counts; a row of one token shows it in full.</summary>
    private const double VerlTolerance = 1e-7;

    [Fact]
    public void Evaluate_EveryCaseOfTrl_MatchesWhereDefinedAlike() =>
        Compare("losses of TRL", "trl_losses.json", TrlTranslation.Translate, "importance_sampling_ratio", TrlTolerance,
            options => !options.GetProperty("old_logps_given").GetBoolean());

    [Fact]
    public void Evaluate_EveryCaseOfVerl_MatchesWhereDefinedAlike() =>
        Compare("losses of verl", "verl_losses.json", VerlTranslation.Translate, "rollout_is_weights", VerlTolerance, _ => false);

    private static void Compare(
        string what, string file, Func<JsonElement, LibraryBatch, (LibraryCase? Case, string? Reason)> translate, string weightsName, double tolerance, Func<JsonElement, bool> onPolicy)
    {
        var count = new GoldenCount(what);
        JsonElement batches = GoldenJson.Read("losses", "batches.json").GetProperty("batches");
        foreach (JsonElement item in GoldenJson.Read("losses", file).GetProperty("cases").EnumerateArray())
        {
            JsonElement options = item.GetProperty("opt");
            var batch = new LibraryBatch(batches.GetProperty(item.GetProperty("batch").GetString()!));
            (LibraryCase? ours, string? reason) = translate(options, batch);
            JsonElement expected = item.GetProperty("f64");
            if (ours is not null && expected.Find("error") is not null) reason = "the library itself fails";
            else if (ours is not null && !(double.IsFinite(expected.GetProperty("loss").Number()) && expected.GetProperty("grad").Flat().All(double.IsFinite)))
                reason = "the library's own result is not finite";
            if (ours is null || reason is not null)
            {
                count.Excluded(reason!);
                continue;
            }
            IObjective objective = ObjectiveRegistry.Create(ours.Options, vocabularySize: 1000);
            ObjectiveBatch prepared = objective.Prepare(batch.ToObjectiveBatch(onPolicy(options)));
            AssertEqual($"{item.GetProperty("id").GetString()} ({objective.Name})", expected, objective.Evaluate(prepared), ours.Scale, tolerance);
            if (expected.Find(weightsName) is { } weights) AssertWeights(item.GetProperty("id").GetString()!, weights.Rows(), prepared, tolerance);
            count.Compared(objective.Name);
        }
        count.Report();
    }

    private static void AssertEqual(string label, JsonElement expected, ObjectiveResult result, double scale, double tolerance)
    {
        double loss = expected.GetProperty("loss").Number();
        double[] gradient = expected.GetProperty("grad").Flat();
        double largest = gradient.Max(Math.Abs);
        Assert.True(Math.Abs(loss + scale * result.Value) <= tolerance * Math.Max(1, Math.Abs(loss)), $"{label}: the loss is {-scale * result.Value}, the reference {loss}.");
        for (int token = 0; token < gradient.Length; token++)
            Assert.True(Math.Abs(gradient[token] + scale * result.Gradient[token]) <= tolerance * largest,
                $"{label}: the loss gradient of token {token} is {-scale * result.Gradient[token]}, the reference {gradient[token]}.");
        if (expected.Find("grad_entropy") is { } entropyGradient)
            Assert.All(entropyGradient.Flat().Zip(result.EntropyGradient!), pair => Assert.Equal(pair.First, -scale * pair.Second, tolerance));
    }

    /// <summary>Weights per token, or per row for sequence levels.</summary>
    private static void AssertWeights(string label, double[][] expected, ObjectiveBatch prepared, double tolerance)
    {
        for (int row = 0; row < expected.Length; row++)
            for (int token = prepared.RowOffsets[row]; token < prepared.RowOffsets[row + 1]; token++)
                if (prepared.Mask![token])
                {
                    double reference = expected[row].Length == 1 ? expected[row][0] : expected[row][token - prepared.RowOffsets[row]];
                    Assert.True(Math.Abs(reference - prepared.CorrectionWeights![token]) <= tolerance * Math.Max(1, reference), $"{label}: the weight of token {token} is {prepared.CorrectionWeights[token]}, the reference {reference}.");
                }
    }
}
