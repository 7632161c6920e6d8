using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

public sealed class ErrorFunctionTests
{
    /// <summary>The stated absolute error of the implementation, with a margin of 2.</summary>
    private const double Tolerance = 2e-15;

    /// <summary>Values of Abramowitz and Stegun's table to 16 digits, on both sides of the change of method.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(0.5, 0.5204998778130465)]
    [InlineData(1, 0.8427007929497149)]
    [InlineData(2, 0.9953222650189527)]
    [InlineData(3, 0.9999779095030014)]
    [InlineData(7, 1)]
    public void Erf_KnownValues_Match(double x, double expected)
    {
        Assert.Equal(expected, ErrorFunction.Erf(x), Tolerance);
        Assert.Equal(-expected, ErrorFunction.Erf(-x), Tolerance);
    }

    [Fact]
    public void Erf_WhereTheMethodChanges_IsContinuous() => Assert.Equal(ErrorFunction.Erf(2.4999999999999996), ErrorFunction.Erf(2.5), Tolerance);
}
