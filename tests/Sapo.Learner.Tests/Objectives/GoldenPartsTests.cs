using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>The parts around objectives, each against a library's own function: aggregation, KL estimators, DPO, CAPO's curvature.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenPartsTests
{
    /// <summary>Both sides are float64 and differ in the order of additions.</summary>
    private const double Tolerance = 1e-11;

    /// <summary>verl adds 1e-8 to token counts in sequence means.</summary>
    private const double VerlMeanTolerance = 1e-7;

    [Fact]
    public void Aggregation_EveryCaseOfVerl_MatchesLossAndGradient()
    {
        var count = new GoldenCount("aggregation of verl");
        JsonElement batches = GoldenJson.Read("losses", "batches.json").GetProperty("batches");
        foreach (JsonElement item in GoldenJson.Read("losses", "verl_agg_kl.json").GetProperty("agg_loss").EnumerateArray())
        {
            string mode = item.GetProperty("loss_agg_mode").GetString()!;
            JsonElement options = item.GetProperty("opt");
            if (!ObjectiveCatalog.Aggregations.Contains(mode, StringComparer.Ordinal))
            {
                count.Excluded($"aggregation {mode} is not one of ours");
                continue;
            }
            var batch = new LibraryBatch(batches.GetProperty(item.GetProperty("batch").GetString()!));
            double[] terms = item.GetProperty("loss_mat").Flat();
            bool constant = mode == ObjectiveCatalog.ConstantNorm;
            var aggregation = new Aggregation(mode, constant ? options.OptionalNumber("loss_scale_factor") ?? batch.Width : null);
            // verl's counts: given, or its own without empty rows; a data-parallel rank's loss is multiplied by the number of ranks.
            var totals = new BatchTotals((int)(options.OptionalNumber("global_batch_size") ?? batch.NonEmptyRows), (long)(options.OptionalNumber("batch_num_tokens") ?? batch.Totals.Tokens));
            double ranks = options.GetProperty("dp_size").Number();
            var gradient = new double[terms.Length];
            for (int row = 0; row + 1 < batch.Offsets.Length; row++)
            {
                int[] counted = [.. batch.Counted(row)];
                foreach (int token in counted) gradient[token] = ranks * aggregation.Coefficient(counted.Length, totals);
            }
            JsonElement expected = item.GetProperty("f64");
            AssertClose(item.GetProperty("id").GetString()!, expected.GetProperty("grad").Flat(), gradient, VerlMeanTolerance);
            AssertClose(item.GetProperty("id").GetString()!, [expected.GetProperty("loss").Number()], [gradient.Zip(terms, (coefficient, term) => coefficient * term).Sum()], VerlMeanTolerance);
            count.Compared(mode);
        }
        count.Report();
    }

    [Fact]
    public void KlEstimate_EveryElementOfVerl_MatchesWhereVerlDoesNotClamp()
    {
        var count = new GoldenCount("KL estimators of verl");
        foreach (JsonElement item in GoldenJson.Read("losses", "verl_agg_kl.json").GetProperty("kl_penalty").EnumerateArray())
        {
            string theirs = item.GetProperty("kl_penalty").GetString()!;
            string? ours = theirs switch { "k1" or "kl" => "k1", "k2" or "mse" or "k2+" or "mse+" => "k2", "k3" or "low_var_kl" => "k3", "k1+" or "kl+" => "k1+", "k3+" or "low_var_kl+" => "k3+", _ => null };
            if (ours is null)
            {
                count.Excluded($"estimator {theirs} is not one of ours");
                continue;
            }
            double[] deltas = [.. item.GetProperty("logp").Flat().Zip(item.GetProperty("ref").Flat(), (current, reference) => current - reference)];
            double[] values = item.GetProperty("f64").GetProperty("value").Flat(), gradients = item.GetProperty("f64").GetProperty("grad").Flat();
            for (int index = 0; index < deltas.Length; index++)
            {
                (double value, double slope) = KlPenalty.Estimate(ours, deltas[index]);
                if (ours.StartsWith("k3", StringComparison.Ordinal) && (Math.Abs(deltas[index]) > 20 || value > 10))
                {
                    count.Excluded("verl clamps k3 to 10 and its exponent to 20, ours has no cap (elements)");
                    continue;
                }
                AssertClose($"{theirs} at {deltas[index]}", [values[index], gradients[index]], [value, slope], Tolerance);
                count.Compared(ours);
            }
        }
        count.Report();
    }

    [Fact]
    public void PreferenceLoss_EveryCaseOfTrl_MatchesLossAndGradient()
    {
        var count = new GoldenCount("DPO of TRL");
        JsonElement root = GoldenJson.Read("losses", "trl_dpo.json");
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            JsonElement options = item.GetProperty("opt");
            string kind = options.GetProperty("loss_type").GetString()!;
            if (kind != "sigmoid" || options.GetProperty("label_smoothing").Number() != 0)
            {
                count.Excluded(kind == "sigmoid" ? "label smoothing is not one of ours" : $"preference loss {kind} is not one of ours");
                continue;
            }
            JsonElement batch = root.GetProperty("batches").GetProperty(item.GetProperty("batch").GetString()!);
            int pairs = batch.GetProperty("pairs").GetInt32();
            bool[][] mask = [.. batch.GetProperty("completion_mask").EnumerateArray().Select(GoldenJson.Flags)];
            double[][] logProbs = [.. batch.GetProperty("policy_token_logps").Rows().Select((row, index) => row.Where((_, token) => mask[index][token]).ToArray())];
            double[] chosen = batch.GetProperty("ref_chosen_logps").Flat(), rejected = batch.GetProperty("ref_rejected_logps").Flat();
            PreferenceResult result = PreferenceLoss.Evaluate(
                [.. Enumerable.Range(0, pairs).Select(pair => new PairLogProbs(logProbs[pair], logProbs[pairs + pair], chosen[pair], rejected[pair]))], options.GetProperty("beta").Number(), pairs);
            JsonElement expected = item.GetProperty("f64");
            string label = item.GetProperty("id").GetString()!;
            AssertClose(label, [expected.GetProperty("loss").Number()], [result.Loss], Tolerance);
            AssertClose(label, expected.GetProperty("grad_chosen_sum").Flat(), result.ChosenGradients, Tolerance);
            AssertClose(label, expected.GetProperty("grad_rejected_sum").Flat(), result.RejectedGradients, Tolerance);
            count.Compared(kind);
        }
        count.Report();
    }

    [Fact]
    public void PreferenceLoss_EveryCaseOfTheSpecification_MatchesLossAndGradient()
    {
        int cases = 0;
        foreach (JsonElement item in GoldenJson.Read("objectives", "fixture.json").GetProperty("veripo").EnumerateArray())
        {
            if (item.GetProperty("inputs").Find("pairs") is not { } pairs) continue;
            PairLogProbs[] inputs = [.. pairs.EnumerateArray().Select(pair => new PairLogProbs(
                pair.GetProperty("chosen_logp").Flat(), pair.GetProperty("rejected_logp").Flat(), pair.GetProperty("chosen_ref").Flat().Sum(), pair.GetProperty("rejected_ref").Flat().Sum()))];
            PreferenceResult result = PreferenceLoss.Evaluate(inputs, item.GetProperty("options").GetProperty("beta").Number(), inputs.Length);
            JsonElement expected = item.GetProperty("outputs");
            string label = item.GetProperty("name").GetString()!;
            AssertClose(label, [expected.GetProperty("loss").Number()], [result.Loss], Tolerance);
            AssertClose(label, expected.GetProperty("margin").Flat(), result.Margins, Tolerance);
            AssertClose(label, expected.GetProperty("grad_chosen").Flat(), [.. inputs.SelectMany((pair, index) => pair.ChosenLogProbs.Select(_ => -result.ChosenGradients[index]))], Tolerance);
            AssertClose(label, expected.GetProperty("grad_rejected").Flat(), [.. inputs.SelectMany((pair, index) => pair.RejectedLogProbs.Select(_ => -result.RejectedGradients[index]))], Tolerance);
            cases++;
        }
        Golden.Report("DPO of the specification", cases);
    }

    [Fact]
    public void Capo_EveryCase_MatchesCurvatureMaskValueAndGradient()
    {
        JsonElement root = GoldenJson.Read("objectives", "fixture.json").GetProperty("capo"), inputs = root.GetProperty("inputs");
        int cases = 0;
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            JsonElement options = item.GetProperty("options"), extra = item.GetProperty("extra");
            ObjectiveBatch batch = CapoBatch(inputs, options);
            bool meanOfKept = options.GetProperty("denominator").ValueKind == JsonValueKind.String;
            IObjective objective = ObjectiveRegistry.Create(new ObjectiveOptions
            {
                Name = "capo",
                Aggregation = meanOfKept ? ObjectiveCatalog.SequenceMean : ObjectiveCatalog.ConstantNorm,
                NormConstant = meanOfKept ? null : options.GetProperty("denominator").Number(),
                ClipLow = options.GetProperty("clip_low").Number(),
                ClipHigh = options.GetProperty("clip_high").Number(),
                PolicyShiftLimit = options.GetProperty("tau_F").Number(),
                ObjectiveShiftLimit = options.GetProperty("tau_H").Number(),
                Symmetric = options.GetProperty("symmetric").GetBoolean(),
            }, vocabularySize: 1000);
            ObjectiveResult result = objective.Evaluate(batch);
            string label = item.GetProperty("name").GetString()!;
            AssertClose(label, extra.GetProperty("m_H").Flat(), batch.Distributions!.ObjectiveShift!, Tolerance);
            AssertClose(label, extra.GetProperty("m_F").Flat(), batch.Distributions!.PolicyShift!, Tolerance);
            AssertClose(label, [item.GetProperty("J").Number()], [result.Value], Tolerance);
            AssertClose(label, item.GetProperty("grad").Flat(), result.Gradient, Tolerance);
            Assert.Equal(extra.GetProperty("rejection_rate").Number(), result.Metrics["rejectedFraction"], Tolerance);
            cases++;
        }
        Golden.Report("CAPO", cases);
    }

    private static ObjectiveBatch CapoBatch(JsonElement inputs, JsonElement options)
    {
        int[] lengths = [.. inputs.GetProperty("lengths").Flat().Select(length => (int)length)];
        int[] offsets = [0, .. lengths.Select((_, row) => lengths[..(row + 1)].Sum())];
        double[] advantages = [.. inputs.GetProperty("A").Flat().SelectMany((advantage, row) => Enumerable.Repeat(advantage, lengths[row]))];
        double[][] hidden = ObjectiveFixture.Tokens(inputs.GetProperty("h")), ids = ObjectiveFixture.Tokens(inputs.GetProperty("topk_ids")), logits = ObjectiveFixture.Tokens(inputs.GetProperty("topk_logits"));
        double[] sampled = inputs.GetProperty("sampled_index").Flat();
        (double ObjectiveShift, double PolicyShift)[] shifts = [.. hidden.Select((state, token) => LastLayerCurvature.Estimate(
            state, Softmax(logits[token]), (int)sampled[token], advantages[token], options.GetProperty("learning_rate").Number(), Moments(inputs.GetProperty("moments"), options, ids[token])))];
        return new ObjectiveBatch
        {
            RowOffsets = offsets,
            LogProbs = inputs.GetProperty("logp").Flat(),
            AnchorLogProbs = inputs.GetProperty("old").Flat(),
            Advantages = advantages,
            Distributions = new TokenDistributions { ObjectiveShift = [.. shifts.Select(shift => shift.ObjectiveShift)], PolicyShift = [.. shifts.Select(shift => shift.PolicyShift)] },
            Totals = ObjectiveBatch.TotalsOf(offsets, null),
        };
    }

    private static LastLayerCurvature.AdamRows? Moments(JsonElement moments, JsonElement options, double[] ids)
    {
        if (options.GetProperty("optimiser").GetString() != "adam" || !options.GetProperty("has_moments").GetBoolean()) return null;
        double[][] first = moments.GetProperty("m").Rows(), second = moments.GetProperty("v").Rows();
        return new LastLayerCurvature.AdamRows(
            Array.ConvertAll(ids, id => first[(int)id]), Array.ConvertAll(ids, id => second[(int)id]), moments.GetProperty("t").GetInt32(),
            options.GetProperty("beta1").Number(), options.GetProperty("beta2").Number(), options.GetProperty("adam_eps").Number());
    }

    private static double[] Softmax(double[] logits)
    {
        double[] exponentials = Array.ConvertAll(logits, logit => Math.Exp(logit - logits.Max()));
        return Array.ConvertAll(exponentials, value => value / exponentials.Sum());
    }

    private static void AssertClose(string label, double[] expected, double[] found, double tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int index = 0; index < expected.Length; index++)
            Assert.True(Math.Abs(expected[index] - found[index]) <= tolerance * Math.Max(1, Math.Abs(expected[index])), $"{label}: entry {index} is {found[index]}, the reference {expected[index]}.");
    }
}
