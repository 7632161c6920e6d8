using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>What the SAPO paper proves about its gate, and how objectives reduce to each other.</summary>
public sealed class SapoTheoryTests
{
    /// <summary>Peaks are given to three digits; the curve is sampled finely enough for them.</summary>
    private const double PeakTolerance = 1e-3;

    /// <summary>The same sums in another order.</summary>
    private const double Tolerance = 1e-14;

    [Fact]
    public void Weight_OverAllRatios_HasItsPeakWhereTheDerivativeSays()
    {
        // W = sech^2(tau (r-1)/2) r has its maximum where 1/r = tau tanh(tau (r-1)/2): r = 2.060, W = 1.575 for tau = 1;
        // r = 1.992, W = 1.536 for tau = 1.05. So |W| is bounded, unlike a plain importance weight.
        IReadOnlyList<WeightCurve> curves = WeightCurves.Of(new ObjectiveOptions(), smallest: 0.001, largest: 10, points: 10000);
        foreach ((WeightCurve curve, double ratio, double peak) in new[] { (curves[0], 2.060, 1.575), (curves[1], 1.992, 1.536) })
        {
            int highest = Array.IndexOf(curve.Weights, curve.Weights.Max());
            Assert.Equal(ratio, curve.Ratios[highest], 2 * PeakTolerance);
            Assert.Equal(peak, curve.Weights[highest], PeakTolerance);
        }
    }

    [Fact]
    public void Gate_SmallSteps_ReducesToASequenceGateWithinTheBound()
    {
        // Sec. 4.1: with g(z) = sech^2(tau z/2) and mu the mean of z, |mean of g(z) - g(mu)| <= tau^2/4 * Var(z).
        foreach (double tau in new[] { 0.5, 1, 2 })
        {
            double Sensitivity(double z) => Gate.Sigmoid.At(1 + z, tau).Slope; // log r ~ r - 1
            for (int seed = 0; seed < 20; seed++)
            {
                var random = new Random(seed);
                double[] z = [.. Enumerable.Range(0, 30).Select(_ => 2 * random.NextDouble() - 1)];
                double mean = z.Average(), variance = z.Average(value => (value - mean) * (value - mean));
                Assert.True(Math.Abs(z.Average(Sensitivity) - Sensitivity(mean)) <= tau * tau / 4 * variance);
            }
        }
    }

    [Fact]
    public void GspoToken_OneAdvantagePerCompletion_EqualsGspo() => AssertSameGradient(
        new ObjectiveOptions { Name = "gspo", ClipLow = 0.2, ClipHigh = 0.28 }, new ObjectiveOptions { Name = "gspo-token", ClipLow = 0.2, ClipHigh = 0.28 });

    [Fact]
    public void Dapo_WithGrposAggregationAndBounds_EqualsGrpo() => AssertSameGradient(
        new ObjectiveOptions { Name = "grpo" }, new ObjectiveOptions { Name = "dapo", ClipHigh = 0.2, Aggregation = ObjectiveCatalog.SequenceMean });

    [Fact]
    public void Gmpo_WithWideBounds_EqualsUnclippedGspo() => AssertSameGradient(
        new ObjectiveOptions { Name = "gmpo", ClipLow = 9, ClipHigh = 9 }, new ObjectiveOptions { Name = "gspo", ClipLow = 9, ClipHigh = 99 });

    [Fact]
    public void CispoNames_SameBounds_AreTheSameObjective() => AssertSameGradient(
        new ObjectiveOptions { Name = "cispo", ClipLow = 0.1, ClipHigh = 0.2 }, new ObjectiveOptions { Name = "cispo-absolute", RatioMin = 0.9, RatioMax = 1.2 });

    [Fact]
    public void Grpo_DetachedForm_HasTheSameGradient()
    {
        // grad J_GRPO = grad of sum sg[W] A l with W the active mask times r: the value form's slope is the detached form's.
        ObjectiveBatch batch = RandomBatches.Make(5, 0.5, 6, 4);
        ObjectiveResult grpo = ObjectiveRegistry.Create(new ObjectiveOptions { Name = "grpo" }, RandomBatches.VocabularySize).Evaluate(batch);
        for (int token = 0; token < batch.TokenCount; token++)
        {
            double ratio = Math.Exp(batch.LogProbs[token] - batch.AnchorLogProbs[token]), advantage = batch.Advantages[token];
            bool active = batch.Mask![token] && (advantage > 0 ? ratio <= 1.2 : ratio >= 0.8);
            Assert.Equal(active ? ratio : 0, grpo.Weights[token], Tolerance);
        }
    }

    private static void AssertSameGradient(ObjectiveOptions first, ObjectiveOptions second)
    {
        ObjectiveBatch batch = RandomBatches.Make(9, 0.5, 6, 0, 4, 2);
        double[] left = ObjectiveRegistry.Create(first, RandomBatches.VocabularySize).Evaluate(batch).Gradient;
        double[] right = ObjectiveRegistry.Create(second, RandomBatches.VocabularySize).Evaluate(batch).Gradient;
        for (int token = 0; token < left.Length; token++) Assert.Equal(left[token], right[token], Tolerance);
    }
}
