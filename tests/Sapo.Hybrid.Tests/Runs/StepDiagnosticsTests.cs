// What a run's log says of every optimizer step, read back from metrics.jsonl as people and programs read it.
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Sapo.Learner.Optimization;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class StepDiagnosticsTests
{
    [Fact]
    public async Task Metrics_RecomputedAnchorWithCorrection_TellRatiosWeightsAndMismatchOfEveryMiniBatch()
    {
        using var folder = new TemporaryFolder();
        var options = TinyRun.Options(
            steps: 2, learner: """ "anchor": "recomputed" """,
            members: """ "objective": { "correction": { "level": "token", "action": "mask", "low": 0.99999, "high": 1.00001 }, "kl": { "beta": 0.1 }, "entropyBonus": { "coefficient": 0.01 } } """);
        await TinyRun.RunAsync(options, folder.Path);
        foreach (var line in File.ReadLines(folder.At("metrics.jsonl")))
        {
            var learner = JsonNode.Parse(line)!["learner"]!;
            var steps = learner["miniBatches"]!.AsArray();
            Assert.Equal(2, steps.Count);
            foreach (var step in steps)
            {
                var told = step!["diagnostics"]!;
                Assert.True(step["gradientNorm"]!.GetValue<double>() > 0);
                Assert.Null(step["skippedFor"]);
                Assert.InRange(told["effectiveTokenShare"]!.GetValue<double>(), 0.5, 1);
                Assert.InRange(told["effectiveSequenceShare"]!.GetValue<double>(), 0.5, 1);
                Assert.NotNull(told["logSequenceWeights"]!["p50"]);
                // Engine and learner: another computation of the same log-probs.
                Assert.InRange(told["mismatch"]!["k3"]!.GetValue<double>(), 0, 1e-6);
                Assert.InRange(Math.Abs(told["mismatch"]!["k1"]!.GetValue<double>()), 0, 1e-4);
                // Weights are 1 or, beyond the narrow bounds, 0: the share that is left is the effective share.
                var masked = step["metrics"]!["maskedFraction"]!.GetValue<double>();
                Assert.InRange(masked, 0, 1);
                Assert.Equal(1 - masked, told["effectiveCorrectionShare"]!.GetValue<double>(), 1e-6);
                Assert.True(step["metrics"]!["kl"]!.GetValue<double>() >= 0);
                Assert.True(step["metrics"]!["meanEntropy"]!.GetValue<double>() > 0);
            }
            // The first optimizer step begins at the anchor itself; the second one no longer does.
            Assert.Equal((1, 1), (steps[0]!["diagnostics"]!["ratios"]!["minimum"]!.GetValue<double>(), steps[0]!["diagnostics"]!["ratios"]!["maximum"]!.GetValue<double>()));
            Assert.NotEqual(1, steps[1]!["diagnostics"]!["ratios"]!["maximum"]!.GetValue<double>());
            Assert.NotNull(learner["metrics"]!["kl"]);
        }
    }

    [Fact]
    public async Task Run_GradientThatOverflows_LogsTheTensorAndStopsAtTheThirdStep()
    {
        using var folder = new TemporaryFolder();
        var options = TinyRun.Options(steps: 4, members: """ "objective": { "kl": { "kind": "k1", "beta": 1e300 } } """); // slope 1, whatever the policy
        var error = await Assert.ThrowsAsync<TrainingDivergedException>(() => TinyRun.RunAsync(options, folder.Path));
        Assert.Contains("3 times in a row", error.Message, StringComparison.Ordinal);
        Assert.Contains("model.", error.Message, StringComparison.Ordinal);
        var learner = JsonNode.Parse(Assert.Single(File.ReadLines(folder.At("metrics.jsonl"))))!["learner"]!; // two optimizer steps in the first policy step
        Assert.Equal(2, learner["skippedUpdates"]!.GetValue<int>());
        Assert.All(learner["miniBatches"]!.AsArray(), step => Assert.StartsWith("model.", step!["skippedFor"]!.GetValue<string>(), StringComparison.Ordinal));
        // The count is part of the checkpoint: continued, the run stops where it stopped before.
        await Assert.ThrowsAsync<TrainingDivergedException>(() => TinyRun.RunAsync(options, folder.Path));
        Assert.Single(File.ReadLines(folder.At("metrics.jsonl")));
    }

    [Fact]
    public async Task Run_CorrectionAgainstTheSamplersOwnRatio_IsRefused()
    {
        using var folder = new TemporaryFolder();
        var options = TinyRun.Options(steps: 1, members: """ "objective": { "correction": {} } """); // the ratio is taken against the sampler already
        var error = await Assert.ThrowsAsync<UserErrorException>(() => TinyRun.RunAsync(options, folder.Path));
        Assert.Contains("learner.anchor is behaviour; expected recomputed", error.Message, StringComparison.Ordinal);
    }
}
