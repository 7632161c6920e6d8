using Sapo.Core.Models;

namespace Sapo.Core.Tests.Models;

public sealed class SeededGaussianTests
{
    [Fact]
    public void Next_ManyNumbers_AreNormallyDistributed()
    {
        const int Count = 1_000_000;
        const double FiveSigma = 5; // a fixed seed: the test is deterministic, the bound says what "normal" would allow
        var gaussian = new SeededGaussian(1, 2);
        double sum = 0, squares = 0, fourth = 0;
        var beyondTwo = 0;
        for (var i = 0; i < Count; i++)
        {
            var x = gaussian.Next();
            (sum, squares, fourth) = (sum + x, squares + x * x, fourth + x * x * x * x);
            if (Math.Abs(x) > 2) beyondTwo++;
        }
        const double ShareBeyondTwo = 0.0455002638963584;
        Assert.True(Math.Abs(sum / Count) < FiveSigma / Math.Sqrt(Count));
        Assert.True(Math.Abs(squares / Count - 1) < FiveSigma * Math.Sqrt(2.0 / Count));
        Assert.True(Math.Abs(fourth / Count - 3) < FiveSigma * Math.Sqrt(96.0 / Count));
        Assert.True(Math.Abs(beyondTwo - Count * ShareBeyondTwo) < FiveSigma * Math.Sqrt(Count * ShareBeyondTwo));
    }

    [Fact]
    public void Next_SameSeedAndStream_GivesTheSameNumbers()
    {
        Assert.Equal(Take(7, 3), Take(7, 3));
        Assert.NotEqual(Take(7, 3), Take(7, 4));
        Assert.NotEqual(Take(7, 3), Take(8, 3));
        Assert.NotEqual(Take(7, 3), Take(3, 7));
    }

    private static double[] Take(long seed, long stream)
    {
        var gaussian = new SeededGaussian(seed, stream);
        return [.. Enumerable.Range(0, 16).Select(_ => gaussian.Next())];
    }
}
