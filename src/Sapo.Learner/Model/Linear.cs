// With a product type, operands are rounded to it before a product and its result is widened again: sums are made in Float32
// by the kernels, the weights' gradient is added in the weights' own precision. The matrix is rounded whenever it is used:
// that costs a pass over it, no memory that lasts, and cannot become stale.
using Sapo.Learner.Adapters;
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>y = x W^T + b on [tokens, columns], with W [out, in] as checkpoints store it, plus a low-rank path where there is an adapter.</summary>
/// <param name="weight">The matrix.</param>
/// <param name="bias">The bias, or null.</param>
/// <param name="productType">What the products with the matrix are computed in; null: its own precision.</param>
/// <param name="adapter">What is added to the product, or null.</param>
internal sealed class Linear(Parameter weight, Parameter? bias, ScalarType? productType = null, LowRankPath? adapter = null)
{
    /// <summary>The product.</summary>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var product = Times(x, bias?.Value);
        adapter?.AddTo(product, x);
        return product.MoveToOuterDisposeScope();
    }

    /// <summary>The product added to a residual stream.</summary>
    public Tensor ForwardAddedTo(Tensor residual, Tensor x)
    {
        using var scope = NewDisposeScope();
        var sum = Times(x, residual);
        if (bias is not null) sum.add_(bias.Value);
        adapter?.AddTo(sum, x);
        return sum.MoveToOuterDisposeScope();
    }

    /// <summary>Adds the gradients of weight, bias and adapter in place, of those that are trained, and returns that of the input.</summary>
    public Tensor Backward(Tensor x, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        var narrow = Narrow(gradient);
        if (weight.Gradient is { } sum)
        {
            if (productType is null) Products.AddTo(sum, gradient.t(), x);
            else sum.add_(Products.Of(narrow.t(), Narrow(x)));
        }
        bias?.Gradient?.add_(gradient.sum(dim: 0));
        var input = Widen(Products.Of(narrow, Narrow(weight.Value)));
        adapter?.Backward(x, gradient, input);
        return input.MoveToOuterDisposeScope();
    }

    /// <summary>x W^T, plus <paramref name="added"/> where there is something, in the weights' own precision.</summary>
    private Tensor Times(Tensor x, Tensor? added)
    {
        using var scope = NewDisposeScope();
        var transposed = Narrow(weight.Value).t();
        if (productType is null) return Products.Of(x, transposed, added).MoveToOuterDisposeScope();
        var product = Products.Of(Narrow(x), transposed);
        return (added is null ? Widen(product) : added.add(product)).MoveToOuterDisposeScope();
    }

    private Tensor Narrow(Tensor values) => productType is { } type ? values.to_type(type) : values.alias();

    private Tensor Widen(Tensor product) => productType is null ? product : product.to_type(weight.Value.dtype);
}
