using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Products of vectors and matrices. A = [[1, 2], [3, 4]], B = [[0.5, -1], [2, 1.5]].</summary>
public sealed class LinearAlgebraTests
{
    private static readonly double[] Product = [4.5, 2, 9.5, 3];

    private static Tensor A() => tensor(new double[] { 1, 2, 3, 4 }).reshape(2, 2);

    private static Tensor B() => tensor(new[] { 0.5, -1, 2, 1.5 }).reshape(2, 2);

    private static Tensor U() => tensor(new double[] { 1, 2 });

    private static Tensor V() => tensor(new double[] { 3, -1 });

    [Fact]
    public void Products_OfMatrices_FollowTheDefinition()
    {
        Forms(A, [2, 2], Product, a => a.matmul(B()), a => torch.matmul(a, B()), a => a.mm(B()), a => torch.mm(a, B()), a =>
            einsum("ij,jk->ik", a, B()), a => a.tensordot(B(), [1], [0]), a => torch.tensordot(a, B(), [1], [0]), a =>
            nn.functional.linear(a, B().t()));
        Gradient(b => A().matmul(b), B());
        Forms(() => A().unsqueeze(0), [1, 2, 2], Product, a => a.bmm(B().unsqueeze(0)), a => torch.bmm(a, B().unsqueeze(0)), a =>
            a.matmul(B()));
        Forms(A, [2, 2], [6, 4, 11, 5], a => nn.functional.linear(a, B().t(), tensor(new[] { 1.5, 2.0 })));
    }

    [Fact]
    public void Products_OfVectors_FollowTheDefinition()
    {
        Forms(A, [2], [1, 5], a => a.mv(V()), a => torch.mv(a, V()));
        Forms(U, [], [1], u => u.dot(V()), u => torch.dot(u, V()), u => u.inner(V()), u => torch.inner(u, V()));
        Forms(U, [2, 2], [3, -1, 6, -2], u => u.outer(V()), u => torch.outer(u, V()), u => u.ger(V()), u => torch.ger(u, V()));
        Forms(U, [4], [3, -1, 6, -2], u => u.kron(V()), u => torch.kron(u, V()));
    }

    [Fact]
    public void Sums_WithProducts_FollowTheDefinition()
    {
        double[] expected = [.. Product.Select(x => 2 + (0.5 * x))];
        Tensor C() => ones(2, 2, ScalarType.Float64);
        Tensor Batch(Tensor x) => x.unsqueeze(0);
        Forms(C, [2, 2], expected, c => c.addmm(A(), B(), 2, 0.5f), c => c.addmm_(A(), B(), 2, 0.5f), c =>
            torch.addmm(c, A(), B(), 2, 0.5f), c => torch.addmm_(c, A(), B(), 2, 0.5f), c =>
            c.addbmm(Batch(A()), Batch(B()), 2, 0.5f), c => c.addbmm_(Batch(A()), Batch(B()), 2, 0.5f), c =>
            torch.addbmm(c, Batch(A()), Batch(B()), 2, 0.5f), c => torch.addbmm_(c, Batch(A()), Batch(B()), 2, 0.5f));
        Forms(() => Batch(C()), [1, 2, 2], expected, c => c.baddbmm(Batch(A()), Batch(B()), 2, 0.5f), c =>
            torch.baddbmm(c, Batch(A()), Batch(B()), 2, 0.5f));
        Gradient(a => C().addmm(a, B(), 2, 0.5f), A());
        Forms(U, [2], [2.5, 6.5], c => c.addmv(A(), V(), 2, 0.5f), c => c.addmv_(A(), V(), 2, 0.5f), c =>
            torch.addmv(c, A(), V(), 2, 0.5f), c => torch.addmv_(c, A(), V(), 2, 0.5f));
        Forms(C, [2, 2], [4, 0, 7, -1], c => c.addr(U(), V()), c => c.addr_(U(), V()), c => torch.addr(c, U(), V()), c =>
            torch.addr_(c, U(), V()));
    }

    [Fact]
    public void Functions_OfMatrices_FollowTheDefinition()
    {
        Forms(A, [], [5], a => a.trace(), a => torch.trace(a));
        Forms(A, [], [-2], a => a.det(), a => torch.det(a));
        Forms(A, [2, 2], [-2, 1, 1.5, -0.5], a => a.inverse(), a => torch.inverse(a));
        Forms(A, [2, 2], [7, 10, 15, 22], a => a.matrix_power(2), a => torch.matrix_power(a, 2));
        Forms(() => diag(U()), [2, 2], [Math.E, 0, 0, Math.Exp(2)], a => a.matrix_exp(), a => torch.matrix_exp(a));
    }
}
