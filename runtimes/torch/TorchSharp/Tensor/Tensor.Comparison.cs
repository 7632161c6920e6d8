using TorchSharp.Native;

namespace TorchSharp;

// Comparisons and logic, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor eq(Scalar target) => Operators.eq_Scalar.Call(this, target);
        public Tensor eq(Tensor target) => Operators.eq_Tensor.Call(this, target);
        public Tensor eq_(Scalar target) => Operators.eq__Scalar.Change(this, target);
        public Tensor eq_(Tensor target) => Operators.eq__Tensor.Change(this, target);

        public Tensor ne(Scalar target) => Operators.ne_Scalar.Call(this, target);
        public Tensor ne(Tensor target) => Operators.ne_Tensor.Call(this, target);
        public Tensor ne_(Scalar target) => Operators.ne__Scalar.Change(this, target);
        public Tensor ne_(Tensor target) => Operators.ne__Tensor.Change(this, target);

        public Tensor lt(Scalar target) => Operators.lt_Scalar.Call(this, target);
        public Tensor lt(Tensor target) => Operators.lt_Tensor.Call(this, target);
        public Tensor lt_(Scalar target) => Operators.lt__Scalar.Change(this, target);
        public Tensor lt_(Tensor target) => Operators.lt__Tensor.Change(this, target);

        public Tensor le(Scalar target) => Operators.le_Scalar.Call(this, target);
        public Tensor le(Tensor target) => Operators.le_Tensor.Call(this, target);
        public Tensor le_(Scalar target) => Operators.le__Scalar.Change(this, target);
        public Tensor le_(Tensor target) => Operators.le__Tensor.Change(this, target);

        public Tensor gt(Scalar target) => Operators.gt_Scalar.Call(this, target);
        public Tensor gt(Tensor target) => Operators.gt_Tensor.Call(this, target);
        public Tensor gt_(Scalar target) => Operators.gt__Scalar.Change(this, target);
        public Tensor gt_(Tensor target) => Operators.gt__Tensor.Change(this, target);

        public Tensor ge(Scalar target) => Operators.ge_Scalar.Call(this, target);
        public Tensor ge(Tensor target) => Operators.ge_Tensor.Call(this, target);
        public Tensor ge_(Scalar target) => Operators.ge__Scalar.Change(this, target);
        public Tensor ge_(Tensor target) => Operators.ge__Tensor.Change(this, target);

        public Tensor equal(Tensor target) => eq(target);

        public Tensor not_equal(Tensor target) => Operators.ne_Tensor.Call(this, target);
        public Tensor not_equal_(Tensor target) => Operators.ne__Tensor.Change(this, target);

        public Tensor less(Tensor target) => Operators.lt_Tensor.Call(this, target);

        public Tensor less_equal(Tensor target) => Operators.le_Tensor.Call(this, target);
        public Tensor less_equal_(Tensor target) => Operators.le__Tensor.Change(this, target);

        public Tensor greater(Tensor target) => Operators.gt_Tensor.Call(this, target);
        public Tensor greater_equal(Tensor target) => Operators.ge_Tensor.Call(this, target);
        public Tensor isclose(Tensor other, double rtol = 1e-05, double atol = 1e-08, bool nanEqual = false) =>
            Operators.isclose.Call(this, other, rtol, atol, nanEqual);
        public bool allclose(Tensor target, double rtol = 1e-05, double atol = 1e-08, bool equal_nan = false) =>
            Operators.allclose.CallBool(this, target, rtol, atol, equal_nan);
        public Tensor isnan() => Operators.isnan.Call(this);
        public Tensor isfinite() => Operators.isfinite.Call(this);
        public Tensor isinf() => Operators.isinf.Call(this);
        public Tensor isposinf() => Operators.isposinf.Call(this);
        public Tensor isneginf() => Operators.isneginf.Call(this);
        public Tensor isin(Tensor test_elements, bool assumeUnique = false, bool invert = false) =>
            Operators.isin_Tensor_Tensor.Call(this, test_elements, assumeUnique, invert);

        public Tensor logical_and(Tensor other) => Operators.logical_and.Call(this, other);
        public Tensor logical_and_(Tensor other) => Operators.logical_and_.Change(this, other);

        public Tensor logical_or(Tensor other) => Operators.logical_or.Call(this, other);
        public Tensor logical_or_(Tensor other) => Operators.logical_or_.Change(this, other);

        public Tensor logical_xor(Tensor other) => Operators.logical_xor.Call(this, other);
        public Tensor logical_xor_(Tensor other) => Operators.logical_xor_.Change(this, other);

        public Tensor logical_not() => Operators.logical_not.Call(this);
        public Tensor logical_not_() => Operators.logical_not_.Change(this);

        public Tensor bitwise_and(Tensor other) => Operators.bitwise_and_Tensor.Call(this, other);
        public Tensor bitwise_and_(Tensor other) => Operators.bitwise_and__Tensor.Change(this, other);

        public Tensor bitwise_or(Tensor other) => Operators.bitwise_or_Tensor.Call(this, other);
        public Tensor bitwise_or_(Tensor other) => Operators.bitwise_or__Tensor.Change(this, other);

        public Tensor bitwise_xor(Tensor other) => Operators.bitwise_xor_Tensor.Call(this, other);
        public Tensor bitwise_xor_(Tensor other) => Operators.bitwise_xor__Tensor.Change(this, other);

        public Tensor bitwise_not() => Operators.bitwise_not.Call(this);
        public Tensor bitwise_not_() => Operators.bitwise_not_.Change(this);
    }
}
