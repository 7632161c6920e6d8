using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

public sealed class RatioDiagnosticsTests
{
    /// <summary>A handful of operations.</summary>
    private const double Tolerance = 1e-12;

    [Fact]
    public void Of_TwoCompletions_MatchesArithmetic()
    {
        // Row 0: z = 0, ln 2 (A > 0); row 1: z = -ln 2 (A < 0); row 2 empty.
        double two = Math.Log(2);
        var batch = new ObjectiveBatch
        {
            RowOffsets = [0, 2, 3, 3],
            LogProbs = [-1, -1 + two, -2 - two],
            AnchorLogProbs = [-1, -1, -2],
            Advantages = [1, 1, -1],
            SamplerLogProbs = [-1, double.NaN, -2 - two],
            Totals = new BatchTotals(3, 3),
        };
        RatioDiagnostics found = RatioDiagnostics.Of(batch, [1, 0.4, 0.25]);
        Assert.Equal((2, 0.5), (found.Positive.Tokens, found.Positive.BelowHalf)); // 0.4 of {1, 0.4}
        Assert.Equal((1, 1.0), (found.Negative.Tokens, found.Negative.BelowHalf));
        Assert.Equal(0.7, found.Positive.Weights!.P50, Tolerance);
        Assert.Equal((0.5, 2.0), (Math.Round(found.Ratios!.Minimum, 12), Math.Round(found.Ratios.Maximum, 12)));
        // Variance of {0, ln 2} is (ln 2)^2 / 4; of one value 0.
        Assert.Equal(two * two / 4, found.SequenceVariances!.Maximum, Tolerance);
        Assert.Equal(two, found.LogSequenceWeights!.Maximum, Tolerance);
        // (1 + 2 + 1/2)^2 / (3 (1 + 4 + 1/4)) = 12.25 / 15.75.
        Assert.Equal(12.25 / 15.75, found.EffectiveTokenShare, Tolerance);
        // (2 + 1/2)^2 / (2 (4 + 1/4)).
        Assert.Equal(6.25 / 8.5, found.EffectiveSequenceShare, Tolerance);
        Assert.Equal(0, found.AnchorKl, Tolerance);
        Assert.Equal(1.0 / 3, found.EmptyCompletionFraction, Tolerance);
        // o - m = 0 and ln 2, one missing: k1 = -ln 2 / 2, k3 = (2 - 1 - ln 2) / 2, chi^2 = (0 + 3) / 2.
        MismatchDiagnostics mismatch = found.Mismatch!;
        Assert.Equal((2, 1), (mismatch.Tokens, mismatch.Missing));
        Assert.Equal(-two / 2, mismatch.K1, Tolerance);
        Assert.Equal((1 - two) / 2, mismatch.K3, Tolerance);
        Assert.Equal(1.5, mismatch.ChiSquare, Tolerance);
    }

    [Fact]
    public void Of_NothingCounted_HasNoDistributions()
    {
        var batch = new ObjectiveBatch { RowOffsets = [0, 0], LogProbs = [], AnchorLogProbs = [], Advantages = [], Totals = new BatchTotals(1, 0) };
        RatioDiagnostics found = RatioDiagnostics.Of(batch, []);
        Assert.Null(found.Ratios);
        Assert.Equal(1, found.EmptyCompletionFraction);
        Assert.Equal(0, found.EffectiveTokenShare);
    }
}
