// The kernels' arithmetic on one vector, held to doubles.
using System.Runtime.Intrinsics;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;

namespace Sapo.Rollout.Tests.Kernels;

public sealed unsafe class VectorMathTests
{
    private const double TwoUnits = 2.0 / (1 << 23); // what Exp promises
    private const double Tolerance = 4e-7;           // numbers of about 1 through three or four roundings

    [Fact]
    public void Exp_EveryExponentOfAFloat_IsWithinTwoUnits()
    {
        for (var x = -87.3f; x < 88.37f; x += 0.00137f) Assert.Equal(1, Exp(x) / Math.Exp(x), TwoUnits);
        for (var x = 1e-30f; x < 1; x *= 3) Assert.Equal(1, Exp(-x) / Math.Exp(-x), TwoUnits);
        Assert.Equal(1, Exp(0));
    }

    [Theory]
    [InlineData(-89f, 0f), InlineData(-1e30f, 0f), InlineData(float.NegativeInfinity, 0f), InlineData(89f, float.PositiveInfinity), InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp_BeyondTheRange_IsZeroOrInfinity(float x, float expected) => Assert.Equal(expected, Exp(x));

    [Theory]
    [InlineData(1), InlineData(16), InlineData(31), InlineData(768)]
    public void Normalize_AnySize_IsTheDefinition(int size)
    {
        const float Epsilon = 1e-3f;
        using NativeBuffer<float> x = Numbers(size, 1), weight = Numbers(size, 2), result = new(size);
        VectorMath.Normalize(x.Pointer, weight.Pointer, size, Epsilon, result.Pointer);
        var squares = 0.0;
        foreach (var element in x.Span) squares += (double)element * element;
        for (var i = 0; i < size; i++) Assert.Equal(x.Span[i] / Math.Sqrt(squares / size + Epsilon) * weight.Span[i], result.Span[i], Tolerance);
    }

    [Theory]
    [InlineData(1), InlineData(24), InlineData(40)]
    public void Gate_AnySize_IsTheDefinitionAndTheSameBitsEverywhere(int size)
    {
        using NativeBuffer<float> gate = Numbers(size, 3), up = Numbers(size, 4), alone = new(1);
        for (var i = 0; i < size; i++) gate.Span[i] *= 20;
        var factors = up.Span.ToArray();
        VectorMath.Gate(gate.Pointer, up.Pointer, size);
        for (var i = 0; i < size; i++)
        {
            Assert.Equal(gate.Span[i] / (1 + Math.Exp(-gate.Span[i])) * factors[i], up.Span[i], 10 * Tolerance);
            alone.Span[0] = factors[i];
            VectorMath.Gate(gate.Pointer + i, alone.Pointer, 1);
            Assert.Equal(alone.Span[0], up.Span[i]);
        }
    }

    [Theory]
    [InlineData(-200f, 0f), InlineData(200f, 200f), InlineData(float.NaN, float.NaN)]
    public void Gate_FarOut_IsItsLimit(float gate, float expected)
    {
        var up = 1f;
        VectorMath.Gate(&gate, &up, 1);
        Assert.Equal(expected, up, Tolerance);
    }

    [Theory]
    [InlineData(0), InlineData(7), InlineData(15)]
    public void Largest_AnyLane_IsFound(int lane) => Assert.Equal(-1, VectorMath.Largest(Vector512.Create(-2f).WithElement(lane, -1f)));

    private static float Exp(float x) => VectorMath.Exp(Vector512.Create(x)).ToScalar();

    private static NativeBuffer<float> Numbers(int count, int seed)
    {
        var numbers = new NativeBuffer<float>(count);
        for (var i = 0; i < count; i++) numbers.Span[i] = CounterRandom.Uniform(seed, 0, 0, i) - 0.5f;
        return numbers;
    }
}
