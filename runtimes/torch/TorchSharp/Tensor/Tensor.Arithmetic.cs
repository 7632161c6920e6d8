using TorchSharp.Native;

namespace TorchSharp;

// Arithmetic with tensors and numbers, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor add(Scalar scalar) => Operators.add_Scalar.Call(this, scalar);
        public Tensor add(Scalar scalar, Scalar alpha) => Operators.add_Scalar.Call(this, scalar, alpha);
        public Tensor add(Tensor target) => Operators.add_Tensor.Call(this, target);
        public Tensor add(Tensor target, Scalar alpha) => Operators.add_Tensor.Call(this, target, alpha);
        public Tensor add_(Scalar scalar) => Operators.add__Scalar.Change(this, scalar);
        public Tensor add_(Scalar scalar, Scalar alpha) => Operators.add__Scalar.Change(this, scalar, alpha);
        public Tensor add_(Tensor target) => Operators.add__Tensor.Change(this, target);
        public Tensor add_(Tensor target, Scalar alpha) => Operators.add__Tensor.Change(this, target, alpha);

        public Tensor sub(Scalar target) => Operators.sub_Scalar.Call(this, target);
        public Tensor sub(Tensor target) => Operators.sub_Tensor.Call(this, target);
        public Tensor sub_(Scalar target) => Operators.sub__Scalar.Change(this, target);
        public Tensor sub_(Tensor target) => Operators.sub__Tensor.Change(this, target);

        public Tensor subtract(Scalar target) => Operators.sub_Scalar.Call(this, target);
        public Tensor subtract(Tensor target) => Operators.sub_Tensor.Call(this, target);
        public Tensor subtract_(Scalar target) => Operators.sub__Scalar.Change(this, target);
        public Tensor subtract_(Tensor target) => Operators.sub__Tensor.Change(this, target);

        public Tensor mul(Scalar target) => Operators.mul_Scalar.Call(this, target);
        public Tensor mul(Tensor target) => Operators.mul_Tensor.Call(this, target);
        public Tensor mul_(Scalar target) => Operators.mul__Scalar.Change(this, target);
        public Tensor mul_(Tensor target) => Operators.mul__Tensor.Change(this, target);

        public Tensor multiply(Scalar target) => Operators.mul_Scalar.Call(this, target);
        public Tensor multiply(Tensor target) => Operators.mul_Tensor.Call(this, target);

        public Tensor div(Scalar target, RoundingMode rounding_mode = RoundingMode.None) =>
            Operators.div_Scalar_mode.Call(this, target, Name(rounding_mode));
        public Tensor div(Tensor target, RoundingMode rounding_mode = RoundingMode.None) =>
            Operators.div_Tensor_mode.Call(this, target, Name(rounding_mode));
        public Tensor div_(Scalar target, RoundingMode rounding_mode = RoundingMode.None) =>
            Operators.div__Scalar_mode.Change(this, target, Name(rounding_mode));
        public Tensor div_(Tensor target, RoundingMode rounding_mode = RoundingMode.None) =>
            Operators.div__Tensor_mode.Change(this, target, Name(rounding_mode));

        public Tensor divide(Scalar target, RoundingMode rounding_mode = RoundingMode.None) => div(target, rounding_mode);
        public Tensor divide(Tensor target, RoundingMode rounding_mode = RoundingMode.None) => div(target, rounding_mode);
        public Tensor divide_(Scalar target, RoundingMode rounding_mode = RoundingMode.None) => div_(target, rounding_mode);
        public Tensor divide_(Tensor target, RoundingMode rounding_mode = RoundingMode.None) => div_(target, rounding_mode);

        public Tensor true_divide(Scalar other) => div(other);
        public Tensor true_divide(Tensor other) => div(other);
        public Tensor true_divide_(Scalar other) => div_(other);
        public Tensor true_divide_(Tensor other) => div_(other);

        public Tensor floor_divide(Scalar other) => Operators.floor_divide_Scalar.Call(this, other);
        public Tensor floor_divide(Tensor other) => Operators.floor_divide.Call(this, other);
        public Tensor floor_divide_(Scalar other) => Operators.floor_divide__Scalar.Change(this, other);
        public Tensor floor_divide_(Tensor other) => Operators.floor_divide__Tensor.Change(this, other);

        public Tensor fmod(Scalar scalar) => Operators.fmod_Scalar.Call(this, scalar);
        public Tensor fmod(Tensor target) => Operators.fmod_Tensor.Call(this, target);
        public Tensor fmod_(Scalar scalar) => Operators.fmod__Scalar.Change(this, scalar);
        public Tensor fmod_(Tensor target) => Operators.fmod__Tensor.Change(this, target);

        public Tensor remainder(Scalar scalar) => Operators.remainder_Scalar.Call(this, scalar);
        public Tensor remainder(Tensor target) => Operators.remainder_Tensor.Call(this, target);
        public Tensor remainder_(Scalar scalar) => Operators.remainder__Scalar.Change(this, scalar);
        public Tensor remainder_(Tensor target) => Operators.remainder__Tensor.Change(this, target);

        public Tensor pow(Scalar exponent) => Operators.pow_Tensor_Scalar.Call(this, exponent);
        public Tensor pow(Tensor exponent) => Operators.pow_Tensor_Tensor.Call(this, exponent);
        public Tensor pow_(Scalar exponent) => Operators.pow__Scalar.Change(this, exponent);
        public Tensor pow_(Tensor exponent) => Operators.pow__Tensor.Change(this, exponent);

        public Tensor float_power(Tensor target) => Operators.float_power_Tensor_Tensor.Call(this, target);
        public Tensor float_power_(Tensor target) => Operators.float_power__Tensor.Change(this, target);

        public Tensor neg() => Operators.neg.Call(this);
        public Tensor neg_() => Operators.neg_.Change(this);

        public Tensor negative() => Operators.neg.Call(this);
        public Tensor positive() => Operators.positive.Call(this);

        public Tensor abs() => Operators.abs.Call(this);
        public Tensor abs_() => Operators.abs_.Change(this);

        public Tensor absolute() => Operators.abs.Call(this);
        public Tensor absolute_() => Operators.abs_.Change(this);

        public Tensor sign() => Operators.sign.Call(this);
        public Tensor sign_() => Operators.sign_.Change(this);

        public Tensor square() => Operators.square.Call(this);

        public Tensor sqrt() => Operators.sqrt.Call(this);
        public Tensor sqrt_() => Operators.sqrt_.Change(this);

        public Tensor rsqrt() => Operators.rsqrt.Call(this);
        public Tensor rsqrt_() => Operators.rsqrt_.Change(this);

        public Tensor reciprocal() => Operators.reciprocal.Call(this);
        public Tensor reciprocal_() => Operators.reciprocal_.Change(this);

        public Tensor addcmul(Tensor tensor1, Tensor tensor2, Scalar value) => Operators.addcmul.Call(this, tensor1, tensor2, value);
        public Tensor addcmul_(Tensor tensor1, Tensor tensor2, Scalar value) => Operators.addcmul_.Change(this, tensor1, tensor2, value);

        public Tensor addcdiv(Tensor tensor1, Tensor tensor2) => Operators.addcdiv.Call(this, tensor1, tensor2);
        public Tensor addcdiv(Tensor tensor1, Tensor tensor2, Scalar value) => Operators.addcdiv.Call(this, tensor1, tensor2, value);
        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2) => Operators.addcdiv_.Change(this, tensor1, tensor2);
        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2, Scalar value) => Operators.addcdiv_.Change(this, tensor1, tensor2, value);

        public Tensor lerp(Tensor end, Tensor weight) => Operators.lerp_Tensor.Call(this, end, weight);
        public Tensor lerp_(Tensor end, Tensor weight) => Operators.lerp__Tensor.Change(this, end, weight);

        public Tensor xlogy(Scalar y) => Operators.xlogy_Scalar_Other.Call(this, y);
        public Tensor xlogy(Tensor y) => Operators.xlogy_Tensor.Call(this, y);
        public Tensor xlogy_(Scalar y) => Operators.xlogy__Scalar_Other.Change(this, y);
        public Tensor xlogy_(Tensor y) => Operators.xlogy__Tensor.Change(this, y);

        public Tensor logaddexp(Tensor other) => Operators.logaddexp.Call(this, other);
        public Tensor logaddexp2(Tensor other) => Operators.logaddexp2.Call(this, other);
        public Tensor hypot(Tensor other) => Operators.hypot.Call(this, other);

        public Tensor copysign(Tensor other) => Operators.copysign_Tensor.Call(this, other);
        public Tensor copysign_(Tensor other) => Operators.copysign__Tensor.Change(this, other);

        public Tensor maximum(Tensor other) => Operators.maximum.Call(this, other);
        public Tensor minimum(Tensor other) => Operators.minimum.Call(this, other);
        public Tensor fmax(Tensor other) => Operators.fmax.Call(this, other);
        public Tensor fmin(Tensor other) => Operators.fmin.Call(this, other);

        public Tensor clamp(Scalar? min = null, Scalar? max = null) => Operators.clamp.Call(this, min, max);
        public Tensor clamp(Tensor? min = null, Tensor? max = null) => Operators.clamp_Tensor.Call(this, min, max);
        public Tensor clamp_(Scalar? min = null, Scalar? max = null) => Operators.clamp_.Change(this, min, max);
        public Tensor clamp_(Tensor? min = null, Tensor? max = null) => Operators.clamp__Tensor.Change(this, min, max);

        public Tensor clip(Scalar? min = null, Scalar? max = null) => Operators.clamp.Call(this, min, max);

        public Tensor clamp_min(Scalar min) => Operators.clamp_min.Call(this, min);
        public Tensor clamp_min_(Scalar min) => Operators.clamp_min_.Change(this, min);

        public Tensor clamp_max(Scalar max) => Operators.clamp_max.Call(this, max);
        public Tensor clamp_max_(Scalar max) => Operators.clamp_max_.Change(this, max);

        public Tensor nan_to_num(double nan = 0, double? posinf = null, double? neginf = null) =>
            Operators.nan_to_num.Call(this, nan, posinf, neginf);
        public Tensor nan_to_num_(double nan = 0, double? posinf = null, double? neginf = null) =>
            Operators.nan_to_num_.Change(this, nan, posinf, neginf);

        public Tensor fill_(Scalar value) => Operators.fill__Scalar.Change(this, value);
        public Tensor zero_() => Operators.zero_.Change(this);
        public Tensor copy_(Tensor source, bool nonBlocking = false) => Operators.copy_.Change(this, source, nonBlocking);
    }
}
