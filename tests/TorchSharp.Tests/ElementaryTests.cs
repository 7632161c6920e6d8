using static TorchSharp.torch;
using static TorchSharp.Tests.Reference;

namespace TorchSharp.Tests;

/// <summary>Functions of each element: values against closed forms, gradients against central differences of the closed forms.</summary>
public sealed class ElementaryTests
{
    private const int Points = 9;

    /// <summary>Name, closed form, range, and every way to call it.</summary>
    private static readonly (string Name, Func<double, double> Formula, double From, double To, Func<Tensor, Tensor>[] Forms)[] Functions =
    [
        ("abs", Math.Abs, -2, 3, [t => t.abs(), t => t.absolute(), t => t.abs_(), t => t.absolute_(), t => torch.abs(t), t =>
            torch.absolute(t), t => torch.abs_(t), t => torch.absolute_(t)]),
        ("neg", x => -x, -2, 3, [t => t.neg(), t => t.negative(), t => t.neg_(), t => -t, t => torch.neg(t), t => torch.negative(t), t =>
            torch.neg_(t), t => torch.negative_(t)]),
        ("positive", x => x, -2, 3, [t => t.positive(), t => torch.positive(t)]),
        ("sign", x => Math.Sign(x), -2, 3, [t => t.sign(), t => t.sign_(), t => torch.sign(t), t => torch.sign_(t)]),
        ("square", x => x * x, -2, 3, [t => t.square(), t => torch.square(t)]),
        ("sqrt", Math.Sqrt, 0.3, 4, [t => t.sqrt(), t => t.sqrt_(), t => torch.sqrt(t), t => torch.sqrt_(t)]),
        ("rsqrt", x => 1 / Math.Sqrt(x), 0.3, 4, [t => t.rsqrt(), t => t.rsqrt_(), t => torch.rsqrt(t), t => torch.rsqrt_(t)]),
        ("reciprocal", x => 1 / x, 0.5, 4, [t => t.reciprocal(), t => t.reciprocal_(), t => torch.reciprocal(t), t =>
            torch.reciprocal_(t)]),
        ("exp", Math.Exp, -2, 2, [t => t.exp(), t => t.exp_(), t => torch.exp(t), t => torch.exp_(t)]),
        ("exp2", x => Math.Pow(2, x), -2, 2, [t => t.exp2(), t => t.exp2_(), t => torch.exp2(t), t => torch.exp2_(t)]),
        ("expm1", x => Math.Exp(x) - 1, -1, 2, [t => t.expm1(), t => t.expm1_(), t => torch.expm1(t), t => torch.expm1_(t)]),
        ("log", Math.Log, 0.3, 4, [t => t.log(), t => t.log_(), t => torch.log(t), t => torch.log_(t)]),
        ("log2", Math.Log2, 0.3, 4, [t => t.log2(), t => t.log2_(), t => torch.log2(t), t => torch.log2_(t)]),
        ("log10", Math.Log10, 0.3, 4, [t => t.log10(), t => t.log10_(), t => torch.log10(t), t => torch.log10_(t)]),
        ("log1p", x => Math.Log(1 + x), -0.5, 3, [t => t.log1p(), t => t.log1p_(), t => torch.log1p(t), t => torch.log1p_(t)]),
        ("sin", Math.Sin, -3, 3, [t => t.sin(), t => t.sin_(), t => torch.sin(t), t => torch.sin_(t)]),
        ("cos", Math.Cos, -3, 3, [t => t.cos(), t => t.cos_(), t => torch.cos(t), t => torch.cos_(t)]),
        ("tan", Math.Tan, -1, 1, [t => t.tan(), t => t.tan_(), t => torch.tan(t), t => torch.tan_(t)]),
        ("asin", Math.Asin, -0.8, 0.8, [t => t.asin(), t => t.asin_(), t => torch.asin(t), t => torch.asin_(t)]),
        ("acos", Math.Acos, -0.8, 0.8, [t => t.acos(), t => t.acos_(), t => torch.acos(t), t => torch.acos_(t)]),
        ("atan", Math.Atan, -3, 3, [t => t.atan(), t => t.atan_(), t => torch.atan(t), t => torch.atan_(t)]),
        ("sinh", Math.Sinh, -2, 2, [t => t.sinh(), t => t.sinh_(), t => torch.sinh(t), t => torch.sinh_(t)]),
        ("cosh", Math.Cosh, -2, 2, [t => t.cosh(), t => t.cosh_(), t => torch.cosh(t), t => torch.cosh_(t)]),
        ("tanh", Math.Tanh, -2, 2, [t => t.tanh(), t => t.tanh_(), t => torch.tanh(t), t => torch.tanh_(t), t =>
            nn.functional.tanh(t), t => nn.functional.tanh(t, true)]),
        ("asinh", Math.Asinh, -2, 2, [t => t.asinh(), t => torch.asinh(t)]),
        ("acosh", Math.Acosh, 1.3, 4, [t => t.acosh(), t => torch.acosh(t)]),
        ("atanh", Math.Atanh, -0.8, 0.8, [t => t.atanh(), t => torch.atanh(t)]),
        ("erf", Erf, -2, 2, [t => t.erf(), t => t.erf_(), t => torch.erf(t), t => torch.erf_(t)]),
        ("erfc", x => 1 - Erf(x), -2, 2, [t => t.erfc(), t => t.erfc_(), t => torch.erfc(t), t => torch.erfc_(t)]),
        ("erfinv", ErfInverse, -0.8, 0.8, [t => t.erfinv(), t => t.erfinv_(), t => torch.erfinv(t), t => torch.erfinv_(t)]),
        ("lgamma", LogGamma, 0.4, 4, [t => t.lgamma(), t => t.lgamma_(), t => torch.lgamma(t), t => torch.lgamma_(t)]),
        ("digamma", Digamma, 0.4, 4, [t => t.digamma(), t => t.digamma_(), t => torch.digamma(t), t => torch.digamma_(t)]),
        ("sigmoid", Sigmoid, -3, 3, [t => t.sigmoid(), t => t.sigmoid_(), t => torch.sigmoid(t), t => torch.sigmoid_(t), t =>
            nn.functional.sigmoid(t), t => nn.functional.sigmoid(t, true)]),
        ("logit", x => Math.Log(x / (1 - x)), 0.1, 0.9, [t => t.logit(), t => t.logit_(), t => torch.logit(t), t => torch.logit_(t), t =>
            t.logit(1e-6)]),
        ("floor", Math.Floor, -2.2, 2.9, [t => t.floor(), t => t.floor_(), t => torch.floor(t), t => torch.floor_(t)]),
        ("ceil", Math.Ceiling, -2.2, 2.9, [t => t.ceil(), t => t.ceil_(), t => torch.ceil(t), t => torch.ceil_(t)]),
        ("round", Round, -2.2, 2.9, [t => t.round(), t => t.round_(), t => torch.round(t), t => torch.round_(t)]),
        ("trunc", Math.Truncate, -2.2, 2.9, [t => t.trunc(), t => t.trunc_(), t => torch.trunc(t), t => torch.trunc_(t)]),
        ("frac", x => x - Math.Truncate(x), -2.2, 2.9, [t => t.frac(), t => t.frac_(), t => torch.frac(t), t => torch.frac_(t)]),
        ("deg2rad", x => x * Math.PI / 180, -90, 90, [t => t.deg2rad(), t => t.deg2rad_(), t => torch.deg2rad(t), t => torch.deg2rad_(t)]),
        ("rad2deg", x => x * 180 / Math.PI, -1, 1, [t => t.rad2deg(), t => t.rad2deg_(), t => torch.rad2deg(t), t => torch.rad2deg_(t)]),
        ("relu", x => Math.Max(x, 0), -2, 3, [t => t.relu(), t => t.relu_(), t => nn.functional.relu(t), t =>
            nn.functional.relu(t, true), t => nn.ReLU().call(t)]),
        ("relu6", x => Math.Clamp(x, 0, 6), -2, 9, [t => t.relu6(), t => t.relu6_(), t => nn.functional.relu6(t), t =>
            nn.functional.relu6(t, true)]),
        ("silu", x => x * Sigmoid(x), -3, 3, [t => t.silu(), t => t.silu_(), t => nn.functional.silu(t), t =>
            nn.functional.silu(t, true), t => nn.functional.SiLU(t), t => nn.SiLU().call(t)]),
        ("gelu", x => x * Phi(x), -2, 2, [t => t.gelu(), t => t.gelu_(), t => nn.functional.gelu(t), t =>
            nn.functional.gelu(t, true), t => nn.GELU().call(t), t => nn.GELU(false).call(t)]),
        ("gelu tanh", x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))), -2, 2,
            [t => t.gelu(Modules.GELU.Approximate.tanh), t => t.gelu_(Modules.GELU.Approximate.tanh), t =>
                nn.functional.gelu(t, Modules.GELU.Approximate.tanh), t => nn.GELU(Modules.GELU.Approximate.tanh).call(t)]),
        ("elu", x => x > 0 ? x : 1.5 * (Math.Exp(x) - 1), -2, 3, [t => t.elu(1.5), t => t.elu_(1.5), t => nn.functional.elu(t, 1.5), t =>
            nn.functional.elu(t, 1.5, true), t => t.elu(1.5, 1, 1), t => t.elu_(1.5, 1, 1)]),
        ("celu", x => x > 0 ? x : 1.5 * (Math.Exp(x / 1.5) - 1), -2, 3, [t => t.celu(1.5), t => t.celu_(1.5)]),
        ("celu 1", x => x > 0 ? x : Math.Exp(x) - 1, -2, 3, [t => t.celu(), t => t.celu_()]),
        ("selu", x => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * (Math.Exp(x) - 1)), -2, 3, [t => t.selu(), t => t.selu_()]),
        ("leaky_relu", x => x > 0 ? x : 0.1 * x, -2, 3, [t => t.leaky_relu(0.1), t => t.leaky_relu_(0.1), t =>
            nn.functional.leaky_relu(t, 0.1), t => nn.functional.leaky_relu(t, 0.1, true)]),
        ("hardtanh", x => Math.Clamp(x, -1, 1), -2, 3, [t => t.hardtanh(-1, 1), t => t.hardtanh_(-1, 1), t =>
            nn.functional.hardtanh(t), t => nn.functional.hardtanh(t, inplace: true)]),
        ("hardsigmoid", x => Math.Clamp((x + 3) / 6, 0, 1), -4, 5, [t => t.hardsigmoid(), t => t.hardsigmoid_()]),
        ("hardswish", x => x * Math.Clamp((x + 3) / 6, 0, 1), -4, 5, [t => t.hardswish(), t => t.hardswish_()]),
        ("softplus", x => Math.Log(1 + Math.Exp(2 * x)) / 2, -2, 3, [t => t.softplus(2), t => nn.functional.softplus(t, 2)]),
        ("log_sigmoid", x => Math.Log(Sigmoid(x)), -3, 3, [t => t.log_sigmoid(), t => nn.functional.logsigmoid(t)]),
        ("identity", x => x, -2, 3, [t => nn.Identity().call(t), t => t.alias(), t => t.clone(), t => torch.clone(t), t => t.contiguous()]),
    ];

    public static TheoryData<string> Names => [.. Functions.Select(function => function.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Function_OnItsRange_EqualsItsClosedForm(string name)
    {
        (_, Func<double, double> formula, double from, double to, Func<Tensor, Tensor>[] forms) = Functions.Single(function =>
            function.Name == name);
        double[] points = [.. Enumerable.Range(0, Points).Select(i => from + ((to - from) * (i + 0.3) / Points))];
        foreach (Func<Tensor, Tensor> form in forms)
        {
            using DisposeScope scope = NewDisposeScope();
            Verify.Values(form(tensor(points)), [Points], Array.ConvertAll(points, x => formula(x)));
            using Tensor leaf = tensor(points, requires_grad: true);
            form(leaf.clone()).sum().backward();
            double[] slopes = Verify.Numeric(t => Verify.Doubles(t).Sum(x => formula(x)), tensor(points));
            Verify.Values(leaf.grad!, [Points], slopes, Verify.Difference);
        }
    }

    /// <summary>libtorch has no derivatives of these in place.</summary>
    [Fact]
    public void InverseHyperbolics_InPlace_EqualDotNets()
    {
        Verify.Results(() => tensor(new[] { 0.5 }), [1], [Math.Asinh(0.5)], t => t.asinh_(), t => torch.asinh_(t));
        Verify.Results(() => tensor(new[] { 1.5 }), [1], [Math.Acosh(1.5)], t => t.acosh_(), t => torch.acosh_(t));
        Verify.Results(() => tensor(new[] { 0.5 }), [1], [Math.Atanh(0.5)], t => t.atanh_(), t => torch.atanh_(t));
    }

    [Fact]
    public void Round_WithDecimals_RoundsThere() => Verify.Results(() => tensor(new[] { 1.234, -5.678 }), [2], [1.2, -5.7], t =>
        t.round(1), t => t.round_(1), t => torch.round(t, 1));

    [Fact]
    public void Atan2_OfAllQuadrants_EqualsDotNets()
    {
        double[] y = [1, 1, -1, -2], x = [2, -1, -3, 1];
        double[] expected = [.. y.Zip(x, Math.Atan2)];
        Verify.Forms(() => tensor(y), [4], expected, t => t.atan2(tensor(x)), t => t.atan2_(tensor(x)), t =>
            torch.atan2(t, tensor(x)), t => torch.atan2_(t, tensor(x)));
        Verify.Gradient(t => tensor(y).atan2(t), tensor(x));
    }
}
