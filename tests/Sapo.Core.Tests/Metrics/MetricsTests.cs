using Sapo.Core.Metrics;

namespace Sapo.Core.Tests.Metrics;

public sealed class MetricsTests
{
    private const double Tolerance = 1e-12;

    [Fact]
    public void PassAtK_ByHand_IsOneMinusTheChanceOfAllWrong() =>
        // 5 samples, 2 right, k = 2: all wrong in C(3,2) of C(5,2) = 3 of 10.
        Assert.Equal(0.7, PassAtK.Estimate(5, 2, 2), Tolerance);

    [Fact]
    public void PassAtK_ManySamples_DoesNotOverflow() =>
        // One right of n: k / n.
        Assert.Equal(0.5, PassAtK.Estimate(1_000_000, 1, 500_000), Tolerance);

    [Theory]
    [InlineData(0, 0, 1)]
    [InlineData(3, 4, 1)]
    [InlineData(3, -1, 1)]
    [InlineData(3, 1, 0)]
    [InlineData(3, 1, 4)]
    public void PassAtK_OutOfRange_Throws(int samples, int correct, int k) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => PassAtK.Estimate(samples, correct, k));

    [Fact]
    public void MajorityAtK_ByHand_SharesTies()
    {
        // a, a, b with k = 2: {a,a} wins; {a,b} twice, a tie each: (1 + 2/2) / 3.
        Assert.Equal(2.0 / 3, MajorityAtK.Estimate(["a", "a", "b"], "a", 2), Tolerance);
        Assert.Equal(1.0 / 3, MajorityAtK.Estimate(["a", "a", "b"], "b", 2), Tolerance);
        Assert.Equal(0, MajorityAtK.Estimate(["a", "a", "b"], "c", 2));
    }

    [Fact]
    public void MajorityAtK_OverAllAnswers_AddsUpToOneInAnyOrder()
    {
        var random = new Random(5);
        for (var round = 0; round < 50; round++)
        {
            string[] answers = [.. Enumerable.Range(0, random.Next(1, 40)).Select(_ => $"{random.Next(6)}")];
            var k = random.Next(1, answers.Length + 1);
            Assert.Equal(1, answers.Distinct(StringComparer.Ordinal).Sum(answer => MajorityAtK.Estimate(answers, answer, k)), Tolerance);
            Assert.Equal(MajorityAtK.Estimate(answers, answers[0], k), MajorityAtK.Estimate([.. answers.Reverse()], answers[0], k), Tolerance);
        }
    }

    [Fact]
    public void MajorityAtK_ThousandSamples_IsFinite()
    {
        string[] answers = [.. Enumerable.Range(0, MajorityAtK.MostSamples).Select(i => i % 3 == 0 ? "right" : $"{i % 7}")];
        Assert.InRange(MajorityAtK.Estimate(answers, "right", 16), 0.5, 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => MajorityAtK.Estimate([.. answers, "x"], "right", 2));
    }

    [Fact]
    public void Wilson_ByHand_IsTheQuadraticsRoots()
    {
        // 2 of 4 at z = 1.959964: centre 1/2, half width z sqrt(1/16 + z^2/64) / (1 + z^2/4).
        const double z = 1.9599639845400545;
        var half = z * Math.Sqrt(1.0 / 16 + z * z / 64) / (1 + z * z / 4);
        var interval = ConfidenceInterval.Wilson(2, 4);
        Assert.Equal(0.5 - half, interval.Low, Tolerance);
        Assert.Equal(0.5 + half, interval.High, Tolerance);
    }

    [Fact]
    public void Wilson_AnyCount_LiesInsideAndIsMirrored()
    {
        foreach (var trials in new[] { 1, 3, 512, 100_000 })
        {
            foreach (var successes in new[] { 0, 1, trials / 2, trials })
            {
                var interval = ConfidenceInterval.Wilson(successes, trials);
                var mirrored = ConfidenceInterval.Wilson(trials - successes, trials);
                Assert.InRange((double)successes / trials, interval.Low, interval.High);
                Assert.InRange(interval.Low, 0, 1);
                Assert.Equal(1 - interval.High, mirrored.Low, Tolerance);
            }
        }
    }

    [Theory]
    [InlineData(1, 0, 0.95)]
    [InlineData(-1, 3, 0.95)]
    [InlineData(4, 3, 0.95)]
    [InlineData(1, 3, 1.0)]
    [InlineData(1, 3, double.NaN)]
    public void Wilson_OutOfRange_Throws(int successes, int trials, double confidence) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => ConfidenceInterval.Wilson(successes, trials, confidence));

    [Fact]
    public void MeanEstimate_OneOrNoValue_IsDefinedOrRefused()
    {
        var single = MeanEstimate.Of([0.5]);
        Assert.Equal(0.5, single.Mean);
        Assert.True(double.IsNaN(single.StandardError));
        Assert.True(double.IsNaN(single.StudentInterval().Low));
        Assert.Throws<ArgumentException>(() => MeanEstimate.Of([]));
        Assert.Throws<ArgumentException>(() => MeanEstimate.Of([double.NaN]));
    }

    [Fact]
    public void McNemarExact_ByHand_IsTheTwoSidedBinomial()
    {
        Assert.Equal(1, PairedComparison.McNemarExact(0, 0));
        // 5 discordant pairs, all one way: 2 / 2^5.
        Assert.Equal(0.0625, PairedComparison.McNemarExact(5, 0), Tolerance);
        Assert.Equal(PairedComparison.McNemarExact(3, 9), PairedComparison.McNemarExact(9, 3), Tolerance);
    }

    [Fact]
    public void Bootstrap_SameSeed_GivesTheSameAndEqualRunsGiveZero()
    {
        double[] first = [0, 1, 0.5, 1], second = [1, 1, 0.5, 0];
        Assert.Equal(PairedComparison.Bootstrap(first, second, seed: 3, resamples: 500), PairedComparison.Bootstrap(first, second, seed: 3, resamples: 500));
        var same = PairedComparison.Bootstrap(first, first, seed: 3, resamples: 500);
        Assert.Equal(new PairedBootstrap(0, 0, new ConfidenceInterval(0, 0), 1, 0), same);
        Assert.Throws<ArgumentException>(() => PairedComparison.Bootstrap(first, [1], seed: 3));
        Assert.Throws<ArgumentException>(() => PairedComparison.Bootstrap([double.NaN], [1], seed: 3));
    }

    [Fact]
    public void EffectiveSampleSize_ByHand_CountsEqualWeights()
    {
        Assert.Equal(4, EffectiveSampleSize.Count([2, 2, 2, 2]), Tolerance);
        Assert.Equal(1, EffectiveSampleSize.Count([0, 7, 0]), Tolerance);
        // (1 + 3)^2 / (1 + 9) = 1.6
        Assert.Equal(1.6, EffectiveSampleSize.Count([1, 3]), Tolerance);
        Assert.Equal(0.8, EffectiveSampleSize.Fraction([1e200, 3e200]), Tolerance);
        Assert.Equal(0, EffectiveSampleSize.Fraction([]));
        Assert.Throws<ArgumentException>(() => EffectiveSampleSize.Count([-1]));
        Assert.Throws<ArgumentException>(() => EffectiveSampleSize.Count([double.NaN]));
    }
}
