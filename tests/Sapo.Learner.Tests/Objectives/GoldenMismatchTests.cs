using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Weights, rejections and diagnostics of the mismatch between sampler and learner, against TRL's and verl's own functions.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenMismatchTests
{
    /// <summary>Exponentials of the same float64 sums.</summary>
    private const double Tolerance = 1e-11;

    /// <summary>verl adds 1e-8 to counts in means and metrics, and some of its metrics are means of float32 flags.</summary>
    private const double VerlMeanTolerance = 1e-6;

    /// <summary>Our clamp on logarithms; TRL has none.</summary>
    private const double Clamp = 20;

    [Fact]
    public void Weights_EveryCaseOfTrl_Match()
    {
        var count = new GoldenCount("mismatch weights of TRL");
        JsonElement batches = GoldenJson.Read("losses", "batches.json").GetProperty("batches");
        foreach (JsonElement item in GoldenJson.Read("losses", "trl_importance_ratio.json").GetProperty("cases").EnumerateArray())
        {
            var batch = new LibraryBatch(batches.GetProperty(item.GetProperty("batch").GetString()!));
            string[] mode = item.GetProperty("mode").GetString()!.Split('_');
            double largest = mode[0] == "token" ? batch.LargestDifference(batch.Old, batch.Sampler) : batch.LargestRowSum(batch.Old, batch.Sampler);
            if (largest > Clamp)
            {
                count.Excluded("TRL's mismatch weights have no clamp, ours clamp the log-ratio to 20");
                continue;
            }
            var options = new CorrectionOptions { Level = mode[0], Action = mode[1], Low = item.OptionalNumber("clip_min"), High = item.OptionalNumber("clip_max") };
            double[] weights = MismatchCorrection.Weights(options, batch.Offsets, batch.Old, batch.Sampler, batch.Mask);
            AssertWeights(item.GetProperty("id").GetString()!, item.GetProperty("f64").GetProperty("importance_sampling_ratio").Rows(), batch.Offsets, batch.Mask, weights);
            count.Compared(item.GetProperty("mode").GetString()!);
        }
        count.Report();
    }

    [Fact]
    public void Weights_EveryCaseOfVerl_Match()
    {
        var count = new GoldenCount("mismatch weights of verl");
        JsonElement root = GoldenJson.Read("losses", "verl_rollout_correction.json");
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            JsonElement options = item.GetProperty("opt"), expected = item.GetProperty("f64");
            if (expected.Find("error") is not null)
            {
                count.Excluded("verl itself fails: every weight is 0");
                continue;
            }
            var batch = new MismatchBatch(root.GetProperty("batches").GetProperty(item.GetProperty("batch").GetString()!));
            if (expected.Find("weights") is { } weights)
            {
                bool normalise = options.GetProperty("rollout_is_batch_normalize").GetBoolean();
                if (normalise && options.GetProperty("rollout_is").GetString() == "sequence") count.Excluded("verl normalises sequence weights by their mean over completions, ours over tokens");
                else
                {
                    CorrectionOptions correction = VerlTranslation.Correction(options) with { Normalise = normalise };
                    AssertWeights(item.GetProperty("id").GetString()!, weights.Rows(), batch.Offsets, batch.Mask,
                        MismatchCorrection.Weights(correction, batch.Offsets, batch.Old, batch.Sampler, batch.Mask), normalise ? VerlMeanTolerance : Tolerance);
                    count.Compared("weights " + correction.Level);
                }
            }
            if (expected.Find("modified_mask") is { } kept) CompareRejection(count, item, batch, kept);
        }
        count.Report();
    }

    [Fact]
    public void MismatchOf_EveryBatchOfVerl_MatchesItsMetrics()
    {
        var count = new GoldenCount("mismatch diagnostics of verl");
        JsonElement root = GoldenJson.Read("losses", "verl_rollout_correction.json");
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            if (item.GetProperty("f64").Find("metrics") is not { } metrics || metrics.Find("rollout_corr/kl") is null) continue;
            var batch = new MismatchBatch(root.GetProperty("batches").GetProperty(item.GetProperty("batch").GetString()!));
            int[] counted = [.. Enumerable.Range(0, batch.Mask.Length).Where(token => batch.Mask[token])];
            if (counted.Any(token => Math.Abs(batch.Old[token] - batch.Sampler[token]) > Clamp))
            {
                count.Excluded("log-ratios beyond our clamp");
                continue;
            }
            MismatchDiagnostics found = RatioDiagnostics.MismatchOf([.. counted.Select(token => batch.Old[token])], [.. counted.Select(token => batch.Sampler[token])]);
            foreach ((string name, double value) in new[] { ("rollout_corr/kl", found.K1), ("rollout_corr/k3_kl", found.K3), ("rollout_corr/chi2_token", found.ChiSquare) })
                if (metrics.Find(name) is { } expected)
                    Assert.True(Math.Abs(expected.Number() - value) <= VerlMeanTolerance * Math.Max(1, Math.Abs(value)), $"{item.GetProperty("id").GetString()}: {name} is {value}, the reference {expected.Number()}.");
            count.Compared("batches");
        }
        count.Report();
    }

    /// <summary>A rejected token is one that verl takes out of its mask and that gets weight 0 here.</summary>
    private static void CompareRejection(GoldenCount count, JsonElement item, MismatchBatch batch, JsonElement kept)
    {
        string rule = item.GetProperty("opt").GetProperty("rollout_rs").GetString()!;
        (RejectionOptions? reject, string? reason) = Rejection(rule, item.GetProperty("opt").GetProperty("rollout_rs_threshold"));
        if (reject is null)
        {
            count.Excluded(reason!);
            return;
        }
        var onlyReject = new CorrectionOptions { High = null, Reject = reject };
        double[] weights = MismatchCorrection.Weights(onlyReject, batch.Offsets, batch.Old, batch.Sampler, batch.Mask);
        bool[] expected = kept.Flags();
        for (int token = 0; token < expected.Length; token++)
            Assert.True(!batch.Mask[token] || expected[token] == (weights[token] != 0), $"{item.GetProperty("id").GetString()} ({rule}): token {token} is {(expected[token] ? "kept" : "rejected")} by verl, not here.");
        count.Compared("rejection " + rule);
    }

    /// <summary>
    /// verl's rule in ours. For k1 verl compares m - o with [log low, log high], a single number u meaning [1/u, u]; ours compares
    /// o - m, so the bounds change sign and places.
    /// </summary>
    private static (RejectionOptions? Options, string? Reason) Rejection(string rule, JsonElement threshold)
    {
        if (rule.Contains(',', StringComparison.Ordinal)) return (null, "several rejection rules at once: ours has one");
        string[] parts = rule.Split('_');
        string? level = parts switch { ["token", _] => "token", ["seq", "mean", _] => "sequence", _ => null };
        if (level is null) return (null, $"rejection by {string.Join(' ', parts[..^1])} is not one of ours");
        double[] bounds = VerlTranslation.Bounds(threshold);
        if (parts[^1] != "k1") return (new RejectionOptions { Metric = parts[^1], Level = level, High = bounds[^1] }, null);
        (double low, double high) = bounds.Length == 2 ? (bounds[0], bounds[1]) : (1 / bounds[0], bounds[0]);
        return (new RejectionOptions { Metric = "k1", Level = level, Low = -Math.Log(high), High = -Math.Log(low) }, null);
    }

    private static void AssertWeights(string label, double[][] expected, int[] offsets, bool[] mask, double[] weights, double tolerance = Tolerance)
    {
        for (int row = 0; row < expected.Length; row++)
            for (int token = offsets[row]; token < offsets[row + 1]; token++)
            {
                if (!mask[token]) continue;
                double reference = expected[row].Length == 1 ? expected[row][0] : expected[row][token - offsets[row]];
                Assert.True(Math.Abs(reference - weights[token]) <= tolerance * Math.Max(1, reference), $"{label}: the weight of token {token} is {weights[token]}, the reference {reference}.");
            }
    }

    private sealed class MismatchBatch(JsonElement batch)
    {
        public double[] Old { get; } = batch.GetProperty("old").Flat();

        public double[] Sampler { get; } = batch.GetProperty("sampling").Flat();

        public bool[] Mask { get; } = batch.GetProperty("mask").Flags();

        public int[] Offsets { get; } = [0, .. batch.GetProperty("old").Rows().Select((row, index) => (index + 1) * row.Length)];
    }
}
