using Sapo.Learner.Adapters;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>y = x W^T + b on [tokens, columns], with W [out, in] as checkpoints store it, plus a low-rank path where there is an adapter.</summary>
/// <param name="weight">The matrix.</param>
/// <param name="bias">The bias, or null.</param>
/// <param name="adapter">What is added to the product, or null.</param>
internal sealed class Linear(Parameter weight, Parameter? bias, LowRankPath? adapter = null)
{
    /// <summary>The product.</summary>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var transposed = weight.Value.t();
        var product = bias is null ? x.mm(transposed) : bias.Value.addmm(x, transposed);
        adapter?.AddTo(product, x);
        return product.MoveToOuterDisposeScope();
    }

    /// <summary>The product added to a residual stream.</summary>
    public Tensor ForwardAddedTo(Tensor residual, Tensor x)
    {
        using var scope = NewDisposeScope();
        var sum = residual.addmm(x, weight.Value.t());
        if (bias is not null) sum.add_(bias.Value);
        adapter?.AddTo(sum, x);
        return sum.MoveToOuterDisposeScope();
    }

    /// <summary>Adds the gradients of weight, bias and adapter in place, of those that are trained, and returns that of the input.</summary>
    public Tensor Backward(Tensor x, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        weight.Gradient?.addmm_(gradient.t(), x);
        bias?.Gradient?.add_(gradient.sum(dim: 0));
        var input = gradient.mm(weight.Value);
        adapter?.Backward(x, gradient, input);
        return input.MoveToOuterDisposeScope();
    }
}
