using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Every objective of golden/objectives: value, gradient and the statistics that come with them.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenObjectiveTests
{
    /// <summary>Reference values are float64 from autograd; the two sides differ in the order of additions only.</summary>
    private const double Tolerance = 1e-10;

    /// <summary>|V| where a case names none; no objective but ESPO looks at it, and ESPO's cases name it.</summary>
    private const int AnyVocabulary = 1000;

    [Fact]
    public void Evaluate_EveryCase_MatchesValueAndGradient()
    {
        var count = new GoldenCount("objectives");
        JsonElement root = GoldenJson.Read("objectives", "fixture.json");
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            JsonElement options = item.GetProperty("options");
            (ObjectiveOptions? ours, string? reason) = ObjectiveFixture.Translate(options);
            if (ours is null)
            {
                count.Excluded(reason!);
                continue;
            }
            JsonElement batch = root.GetProperty("batches").GetProperty(item.GetProperty("batch").GetString()!);
            IObjective objective = ObjectiveRegistry.Create(ours, (int)(options.OptionalNumber("vocab_size") ?? AnyVocabulary));
            ObjectiveBatch prepared = objective.Prepare(ObjectiveFixture.Batch(batch, options, item.Find("truncated")));
            ObjectiveResult result = objective.Evaluate(prepared);
            string label = $"{item.GetProperty("name").GetString()} on {item.GetProperty("batch").GetString()}";
            AssertEqual(label, item.GetProperty("J").Number(), item.GetProperty("grad").Flat(), result);
            AssertExtra(label, item.GetProperty("extra"), prepared, result);
            count.Compared(ours.Name);
        }
        count.Report();
    }

    [Fact]
    public void Advance_DualVariable_FollowsTheReferenceSteps()
    {
        JsonElement root = GoldenJson.Read("objectives", "fixture.json");
        JsonElement dual = root.GetProperty("r2vpo_dual"), options = dual.GetProperty("options");
        IObjective objective = ObjectiveRegistry.Create(new ObjectiveOptions
        {
            Name = "r2vpo", Lambda = options.GetProperty("lambda_0").Number(), Delta = options.GetProperty("delta").Number(), DualStep = options.GetProperty("eta").Number(),
        }, AnyVocabulary);
        using JsonDocument plain = JsonDocument.Parse("""{"anchor": "old", "advantages": "sequence"}""");
        ObjectiveBatch batch = ObjectiveFixture.Batch(root.GetProperty("batches").GetProperty(dual.GetProperty("batch").GetString()!), plain.RootElement, null);
        int steps = 0;
        foreach (JsonElement step in dual.GetProperty("steps").EnumerateArray())
        {
            Assert.Equal(step.GetProperty("lambda_before").Number(), objective.State["lambda"], Tolerance);
            ObjectiveResult result = objective.Evaluate(batch with { LogProbs = step.GetProperty("logp").Flat() });
            AssertEqual($"step {steps}", step.GetProperty("J").Number(), step.GetProperty("grad").Flat(), result);
            objective.Advance(result);
            Assert.Equal(step.GetProperty("lambda_after").Number(), objective.State["lambda"], Tolerance);
            steps++;
        }
        Golden.Report("objectives: dual variable steps", steps);
    }

    private static void AssertEqual(string label, double value, double[] gradient, ObjectiveResult result)
    {
        double scale = gradient.Select(Math.Abs).DefaultIfEmpty(0).Max();
        Assert.True(Math.Abs(value - result.Value) <= Tolerance * Math.Max(1, Math.Abs(value)), $"{label}: J is {result.Value}, the reference {value}.");
        for (int token = 0; token < gradient.Length; token++)
            Assert.True(Math.Abs(gradient[token] - result.Gradient[token]) <= Tolerance * scale,
                $"{label}: the gradient of token {token} is {result.Gradient[token]}, the reference {gradient[token]}.");
    }

    /// <summary>Statistics beside value and gradient, where ours are the same quantity.</summary>
    private static void AssertExtra(string label, JsonElement extra, ObjectiveBatch prepared, ObjectiveResult result)
    {
        (string Theirs, string Ours)[] metrics =
        [
            ("kl", "kl"), ("mean_sq", "meanSquaredRatioDeviation"), ("c_low", "boundLow"), ("c_high", "boundHigh"), ("kappa", "kappa"),
            ("statistic", "positiveContribution"), ("statistic_start", "positiveContributionAtStart"), ("iterations", "boundRaises"),
        ];
        foreach ((string theirs, string ours) in metrics)
        {
            if (extra.Find(theirs) is not { } expected || !result.Metrics.TryGetValue(ours, out double found)) continue;
            double number = expected.Number();
            Assert.True(number.Equals(found) || Math.Abs(number - found) <= Tolerance * Math.Max(1, Math.Abs(number)), $"{label}: {ours} is {found}, the reference {number}.");
        }
        if (extra.Find("mismatch_weight") is { } weights)
            foreach ((double expected, int token) in weights.Flat().Select((expected, token) => (expected, token)))
                if (prepared.Mask![token])
                    Assert.True(Math.Abs(expected - prepared.CorrectionWeights![token]) <= Tolerance, $"{label}: the mismatch weight of token {token} is {prepared.CorrectionWeights[token]}, the reference {expected}.");
        if (extra.Find("kept") is { } kept)
            foreach ((double expected, int token) in kept.Flat().Select((expected, token) => (expected, token)))
                if (prepared.Mask![token]) Assert.Equal(expected != 0, result.Weights[token] != 0);
    }
}
