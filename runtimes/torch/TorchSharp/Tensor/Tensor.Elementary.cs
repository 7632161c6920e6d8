using TorchSharp.Native;

namespace TorchSharp;

// Elementary functions of each element, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor exp() => Operators.exp.Call(this);
        public Tensor exp_() => Operators.exp_.Change(this);

        public Tensor exp2() => Operators.exp2.Call(this);
        public Tensor exp2_() => Operators.exp2_.Change(this);

        public Tensor expm1() => Operators.expm1.Call(this);
        public Tensor expm1_() => Operators.expm1_.Change(this);

        public Tensor log() => Operators.log.Call(this);
        public Tensor log_() => Operators.log_.Change(this);

        public Tensor log2() => Operators.log2.Call(this);
        public Tensor log2_() => Operators.log2_.Change(this);

        public Tensor log10() => Operators.log10.Call(this);
        public Tensor log10_() => Operators.log10_.Change(this);

        public Tensor log1p() => Operators.log1p.Call(this);
        public Tensor log1p_() => Operators.log1p_.Change(this);

        public Tensor sin() => Operators.sin.Call(this);
        public Tensor sin_() => Operators.sin_.Change(this);

        public Tensor cos() => Operators.cos.Call(this);
        public Tensor cos_() => Operators.cos_.Change(this);

        public Tensor tan() => Operators.tan.Call(this);
        public Tensor tan_() => Operators.tan_.Change(this);

        public Tensor asin() => Operators.asin.Call(this);
        public Tensor asin_() => Operators.asin_.Change(this);

        public Tensor acos() => Operators.acos.Call(this);
        public Tensor acos_() => Operators.acos_.Change(this);

        public Tensor atan() => Operators.atan.Call(this);
        public Tensor atan_() => Operators.atan_.Change(this);

        public Tensor atan2(Tensor other) => Operators.atan2.Call(this, other);
        public Tensor atan2_(Tensor other) => Operators.atan2_.Change(this, other);

        public Tensor sinh() => Operators.sinh.Call(this);
        public Tensor sinh_() => Operators.sinh_.Change(this);

        public Tensor cosh() => Operators.cosh.Call(this);
        public Tensor cosh_() => Operators.cosh_.Change(this);

        public Tensor tanh() => Operators.tanh.Call(this);
        public Tensor tanh_() => Operators.tanh_.Change(this);

        public Tensor asinh() => Operators.asinh.Call(this);
        public Tensor asinh_() => Operators.asinh_.Change(this);

        public Tensor acosh() => Operators.acosh.Call(this);
        public Tensor acosh_() => Operators.acosh_.Change(this);

        public Tensor atanh() => Operators.atanh.Call(this);
        public Tensor atanh_() => Operators.atanh_.Change(this);

        public Tensor erf() => Operators.erf.Call(this);
        public Tensor erf_() => Operators.erf_.Change(this);

        public Tensor erfc() => Operators.erfc.Call(this);
        public Tensor erfc_() => Operators.erfc_.Change(this);

        public Tensor erfinv() => Operators.erfinv.Call(this);
        public Tensor erfinv_() => Operators.erfinv_.Change(this);

        public Tensor lgamma() => Operators.lgamma.Call(this);
        public Tensor lgamma_() => Operators.lgamma_.Change(this);

        public Tensor digamma() => Operators.digamma.Call(this);
        public Tensor digamma_() => Operators.digamma_.Change(this);

        public Tensor sigmoid() => Operators.sigmoid.Call(this);
        public Tensor sigmoid_() => Operators.sigmoid_.Change(this);

        public Tensor logit(double? eps = null) => Operators.logit.Call(this, eps);
        public Tensor logit_(double? eps = null) => Operators.logit_.Change(this, eps);

        public Tensor floor() => Operators.floor.Call(this);
        public Tensor floor_() => Operators.floor_.Change(this);

        public Tensor ceil() => Operators.ceil.Call(this);
        public Tensor ceil_() => Operators.ceil_.Change(this);

        public Tensor round(long decimals = 0) => Operators.round_decimals.Call(this, decimals);
        public Tensor round_(long decimals = 0) => Operators.round__decimals.Change(this, decimals);

        public Tensor trunc() => Operators.trunc.Call(this);
        public Tensor trunc_() => Operators.trunc_.Change(this);

        public Tensor frac() => Operators.frac.Call(this);
        public Tensor frac_() => Operators.frac_.Change(this);

        public Tensor deg2rad() => Operators.deg2rad.Call(this);
        public Tensor deg2rad_() => Operators.deg2rad_.Change(this);

        public Tensor rad2deg() => Operators.rad2deg.Call(this);
        public Tensor rad2deg_() => Operators.rad2deg_.Change(this);

        public Tensor relu() => Operators.relu.Call(this);
        public Tensor relu_() => Operators.relu_.Change(this);

        public Tensor relu6() => Operators.relu6.Call(this);
        public Tensor relu6_() => Operators.relu6_.Change(this);

        public Tensor silu() => Operators.silu.Call(this);
        public Tensor silu_() => Operators.silu_.Change(this);

        public Tensor gelu() => Operators.gelu.Call(this);
        public Tensor gelu(Modules.GELU.Approximate approximate) => Operators.gelu.Call(this, approximate.ToString());
        public Tensor gelu_() => Operators.gelu_.Change(this);
        public Tensor gelu_(Modules.GELU.Approximate approximate) => Operators.gelu_.Change(this, approximate.ToString());

        public Tensor elu(Scalar alpha, Scalar scale, Scalar input_scale) => Operators.elu.Call(this, alpha, scale, input_scale);
        public Tensor elu(double alpha = 1) => Operators.elu.Call(this, alpha);
        public Tensor elu_(Scalar alpha, Scalar scale, Scalar input_scale) => Operators.elu_.Change(this, alpha, scale, input_scale);
        public Tensor elu_(double alpha = 1) => Operators.elu_.Change(this, alpha);

        public Tensor celu() => Operators.celu.Call(this);
        public Tensor celu(Scalar alpha) => Operators.celu.Call(this, alpha);
        public Tensor celu_() => Operators.celu_.Change(this);
        public Tensor celu_(Scalar alpha) => Operators.celu_.Change(this, alpha);

        public Tensor selu() => Operators.selu.Call(this);
        public Tensor selu_() => Operators.selu_.Change(this);

        public Tensor leaky_relu(Scalar negative_slope) => Operators.leaky_relu.Call(this, negative_slope);
        public Tensor leaky_relu_(Scalar negative_slope) => Operators.leaky_relu_.Change(this, negative_slope);

        public Tensor hardtanh(Scalar min, Scalar max) => Operators.hardtanh.Call(this, min, max);
        public Tensor hardtanh_(Scalar min, Scalar max) => Operators.hardtanh_.Change(this, min, max);

        public Tensor hardsigmoid() => Operators.hardsigmoid.Call(this);
        public Tensor hardsigmoid_() => Operators.hardsigmoid_.Change(this);

        public Tensor hardswish() => Operators.hardswish.Call(this);
        public Tensor hardswish_() => Operators.hardswish_.Change(this);

        public Tensor softplus(double beta = 1, double threshold = 20) => Operators.softplus.Call(this, beta, threshold);
        public Tensor log_sigmoid() => Operators.log_sigmoid.Call(this);
    }
}
