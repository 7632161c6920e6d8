using Sapo.Learner.Compute;
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Compute;

/// <summary>A product that is cut into parts is the product.</summary>
public sealed class ProductsTests
{
    /// <summary>Parts are summed in another order than the whole: a few units in the last place of a sum of up to a thousand products.</summary>
    private const double Tolerance = 1e-12;

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 5, 2)]
    [InlineData(600, 40, 90)] // more rows than columns
    [InlineData(90, 1000, 600)] // more columns than rows
    [InlineData(511, 130, 511)]
    public void Of_EveryShapeAndTranspose_IsTheProduct(long m, long k, long n)
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var (left, right) = (randn([m, k], ScalarType.Float64), randn([k, n], ScalarType.Float64));
        var expected = left.mm(right);
        Same(expected, Products.Of(left, right));
        Same(expected, Products.Of(left.t().contiguous().t(), right.t().contiguous().t()));
        var (row, all, sum) = (randn([n], ScalarType.Float64), randn([m, n], ScalarType.Float64), randn([m, 2 * n], ScalarType.Float64));
        Same(expected + row, Products.Of(left, right, row));
        Same(expected + all, Products.Of(left, right, all));
        var before = sum.clone();
        Products.AddTo(sum.narrow(1, n, n), left, right); // a part of a larger matrix
        Same(before.narrow(1, 0, n), sum.narrow(1, 0, n));
        Same(before.narrow(1, n, n) + expected, sum.narrow(1, n, n));
    }

    [Fact]
    public void Of_UninitialisedResultMemory_DoesNotShow()
    {
        using var scope = NewDisposeScope();
        full([512, 512], double.NaN, ScalarType.Float32).Dispose(); // memory that the next result may get
        Assert.False(Products.Of(ones(512, 300), ones(300, 512)).isnan().any().ToBoolean());
    }

    [Fact]
    public void Of_Bfloat16_RoundsTheProduct()
    {
        using var scope = NewDisposeScope();
        manual_seed(1);
        var (left, right) = (randn(300, 100).to_type(ScalarType.BFloat16), randn(100, 200).to_type(ScalarType.BFloat16));
        var product = Products.Of(left, right);
        Assert.Equal(ScalarType.BFloat16, product.dtype);
        const double step = 1.0 / 128; // of bfloat16, relative
        var exact = left.to_type(ScalarType.Float64).mm(right.to_type(ScalarType.Float64));
        Assert.InRange((product.to_type(ScalarType.Float64) - exact).abs().max().ToDouble() / exact.abs().max().ToDouble(), 0, step);
    }

    private static void Same(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.InRange((expected - actual).abs().max().ToDouble(), 0, Tolerance);
    }
}
