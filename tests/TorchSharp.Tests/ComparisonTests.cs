using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Comparisons and logic: 1 where true.</summary>
public sealed class ComparisonTests
{
    private static Tensor A() => tensor(new double[] { 1, 2, 3, 2 });

    private static Tensor B() => tensor(new double[] { 2, 2, 1, 3 });

    private static Tensor P() => tensor(new[] { true, true, false, false });

    private static Tensor Q() => tensor(new[] { true, false, true, false });

    private static Tensor I() => tensor(new[] { 12, 10, 7, 0 });

    private static Tensor J() => tensor(new[] { 10, 6, 3, 5 });

    [Fact]
    public void Comparison_WithTensorAndNumber_SaysWhereItHolds()
    {
        Results(A, [4], [0, 1, 0, 0], a => a.eq(B()), a => a.eq_(B()), a => a == B(), a => torch.eq(a, B()), a => a.equal(B()), a =>
            torch.equal(a, B()));
        Results(A, [4], [0, 1, 0, 1], a => a.eq(2), a => a.eq_(2), a => a == (Scalar)2, a => (Scalar)2 == a);
        Results(A, [4], [1, 0, 1, 1], a => a.ne(B()), a => a.ne_(B()), a => a != B(), a => torch.ne(a, B()), a => a.not_equal(B()), a =>
            a.not_equal_(B()), a => torch.not_equal(a, B()));
        Results(A, [4], [1, 0, 1, 0], a => a.ne(2), a => a.ne_(2), a => a != (Scalar)2, a => (Scalar)2 != a);
        Results(A, [4], [1, 0, 0, 1], a => a.lt(B()), a => a.lt_(B()), a => a < B(), a => torch.lt(a, B()), a => a.less(B()), a =>
            torch.less(a, B()));
        Results(A, [4], [1, 0, 0, 0], a => a.lt(2), a => a.lt_(2), a => a < (Scalar)2, a => (Scalar)2 > a);
        Results(A, [4], [1, 1, 0, 1], a => a.le(B()), a => a.le_(B()), a => a <= B(), a => torch.le(a, B()), a => a.less_equal(B()), a =>
            a.less_equal_(B()), a => torch.less_equal(a, B()));
        Results(A, [4], [1, 1, 0, 1], a => a.le(2), a => a.le_(2), a => a <= (Scalar)2, a => (Scalar)2 >= a);
        Results(A, [4], [0, 0, 1, 0], a => a.gt(B()), a => a.gt_(B()), a => a > B(), a => torch.gt(a, B()), a => a.greater(B()), a =>
            torch.greater(a, B()));
        Results(A, [4], [0, 0, 1, 0], a => a.gt(2), a => a.gt_(2), a => a > (Scalar)2, a => (Scalar)2 < a);
        Results(A, [4], [0, 1, 1, 0], a => a.ge(B()), a => a.ge_(B()), a => a >= B(), a => torch.ge(a, B()), a =>
            a.greater_equal(B()), a => torch.greater_equal(a, B()));
        Results(A, [4], [0, 1, 1, 1], a => a.ge(2), a => a.ge_(2), a => a >= (Scalar)2, a => (Scalar)2 <= a);
    }

    [Fact]
    public void Comparison_Result_IsBool()
    {
        using Tensor result = A() > B();
        Assert.Equal(ScalarType.Bool, result.dtype);
    }

    [Fact]
    public void IsClose_AndAllClose_AllowTolerance()
    {
        Tensor Near() => tensor(new[] { 1 + 1e-9, 2.1, 3, double.NaN });
        Results(A, [4], [1, 0, 1, 0], a => a.isclose(Near()), a => torch.isclose(a, Near()));
        using Tensor a = A(), copy = A(), near = A() + 1e-10, far = B();
        Assert.True(a.allclose(near) && torch.allclose(a, near));
        Assert.False(a.allclose(far) || torch.allclose(a, far));
        Assert.True(a.Equals(copy));
        Assert.False(a.Equals(near));
        Assert.False(a.Equals("no tensor"));
    }

    [Fact]
    public void Kinds_OfNumbers_AreTold()
    {
        Tensor Numbers() => tensor(new[] { 1, double.NaN, double.PositiveInfinity, double.NegativeInfinity });
        Results(Numbers, [4], [0, 1, 0, 0], a => a.isnan(), a => torch.isnan(a));
        Results(Numbers, [4], [1, 0, 0, 0], a => a.isfinite(), a => torch.isfinite(a));
        Results(Numbers, [4], [0, 0, 1, 1], a => a.isinf(), a => torch.isinf(a));
        Results(Numbers, [4], [0, 0, 1, 0], a => a.isposinf(), a => torch.isposinf(a));
        Results(Numbers, [4], [0, 0, 0, 1], a => a.isneginf(), a => torch.isneginf(a));
        Results(A, [4], [0, 1, 0, 1], a => a.isin(tensor(new[] { 2.0, 7 })), a => torch.isin(a, tensor(new[] { 2.0, 7 })));
        Results(A, [4], [1, 0, 1, 0], a => a.isin(tensor(new[] { 2.0, 7 }), invert: true));
    }

    [Fact]
    public void Logic_OfTruthValues_FollowsItsTables()
    {
        Results(P, [4], [1, 0, 0, 0], a => a.logical_and(Q()), a => a.logical_and_(Q()), a => torch.logical_and(a, Q()), a =>
            torch.logical_and_(a, Q()), a => a & Q());
        Results(P, [4], [1, 1, 1, 0], a => a.logical_or(Q()), a => a.logical_or_(Q()), a => torch.logical_or(a, Q()), a =>
            torch.logical_or_(a, Q()), a => a | Q());
        Results(P, [4], [0, 1, 1, 0], a => a.logical_xor(Q()), a => a.logical_xor_(Q()), a => torch.logical_xor(a, Q()), a =>
            torch.logical_xor_(a, Q()), a => a ^ Q());
        Results(P, [4], [0, 0, 1, 1], a => a.logical_not(), a => a.logical_not_(), a => torch.logical_not(a), a => ~a);
    }

    [Fact]
    public void Bits_OfWholeNumbers_AreCombined()
    {
        Results(I, [4], [8, 2, 3, 0], a => a.bitwise_and(J()), a => a.bitwise_and_(J()), a => torch.bitwise_and(a, J()), a =>
            torch.bitwise_and_(a, J()));
        Results(I, [4], [14, 14, 7, 5], a => a.bitwise_or(J()), a => a.bitwise_or_(J()), a => torch.bitwise_or(a, J()), a =>
            torch.bitwise_or_(a, J()));
        Results(I, [4], [6, 12, 4, 5], a => a.bitwise_xor(J()), a => a.bitwise_xor_(J()), a => torch.bitwise_xor(a, J()), a =>
            torch.bitwise_xor_(a, J()));
        Results(I, [4], [-13, -11, -8, -1], a => a.bitwise_not(), a => a.bitwise_not_(), a => torch.bitwise_not(a), a =>
            torch.bitwise_not_(a));
    }
}
