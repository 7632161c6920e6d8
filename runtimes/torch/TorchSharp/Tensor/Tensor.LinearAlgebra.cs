using TorchSharp.Native;

namespace TorchSharp;

// Products of vectors and matrices, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor matmul(Tensor target) => Operators.matmul.Call(this, target);
        public Tensor mm(Tensor target) => Operators.mm.Call(this, target);
        public Tensor bmm(Tensor batch2) => Operators.bmm.Call(this, batch2);
        public Tensor mv(Tensor target) => Operators.mv.Call(this, target);
        public Tensor dot(Tensor target) => Operators.dot.Call(this, target);
        public Tensor inner(Tensor vec2) => Operators.inner.Call(this, vec2);
        public Tensor outer(Tensor vec2) => Operators.outer.Call(this, vec2);
        public Tensor ger(Tensor vec2) => Operators.outer.Call(this, vec2);

        public Tensor addmm(Tensor mat1, Tensor mat2, float beta = 1, float alpha = 1) =>
            Operators.addmm.Call(this, mat1, mat2, beta, alpha);
        public Tensor addmm_(Tensor mat1, Tensor mat2, float beta = 1, float alpha = 1) =>
            Operators.addmm_.Change(this, mat1, mat2, beta, alpha);

        public Tensor addmv(Tensor mat, Tensor vec, float beta = 1, float alpha = 1) => Operators.addmv.Call(this, mat, vec, beta, alpha);
        public Tensor addmv_(Tensor mat, Tensor vec, float beta = 1, float alpha = 1) =>
            Operators.addmv_.Change(this, mat, vec, beta, alpha);

        public Tensor addr(Tensor vec1, Tensor vec2, float beta = 1, float alpha = 1) =>
            Operators.addr.Call(this, vec1, vec2, beta, alpha);
        public Tensor addr_(Tensor vec1, Tensor vec2, float beta = 1, float alpha = 1) =>
            Operators.addr_.Change(this, vec1, vec2, beta, alpha);

        public Tensor baddbmm(Tensor batch1, Tensor batch2, float beta = 1, float alpha = 1) =>
            Operators.baddbmm.Call(this, batch1, batch2, beta, alpha);

        public Tensor addbmm(Tensor batch1, Tensor batch2, float beta = 1, float alpha = 1) =>
            Operators.addbmm.Call(this, batch1, batch2, beta, alpha);
        public Tensor addbmm_(Tensor batch1, Tensor batch2, float beta = 1, float alpha = 1) =>
            Operators.addbmm_.Change(this, batch1, batch2, beta, alpha);

        public Tensor tensordot(Tensor b, long[] dims1, long[] dims2) => Operators.tensordot.Call(this, b, dims1, dims2);
        public Tensor kron(Tensor other) => Operators.kron.Call(this, other);
        public Tensor trace() => Operators.trace.Call(this);
        public Tensor det() => Operators.det.Call(this);
        public Tensor inverse() => Operators.inverse.Call(this);
        public Tensor matrix_power(int n) => Operators.matrix_power.Call(this, (long)n);
        public Tensor matrix_exp() => Operators.matrix_exp.Call(this);
    }
}
