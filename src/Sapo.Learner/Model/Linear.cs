using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>y = x W^T + b on [tokens, columns], with W [out, in] as checkpoints store it.</summary>
/// <param name="weight">The matrix.</param>
/// <param name="bias">The bias, or null.</param>
internal sealed class Linear(Parameter weight, Parameter? bias)
{
    /// <summary>The product.</summary>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var transposed = weight.Value.t();
        return (bias is null ? x.mm(transposed) : bias.Value.addmm(x, transposed)).MoveToOuterDisposeScope();
    }

    /// <summary>The product added to a residual stream.</summary>
    public Tensor ForwardAddedTo(Tensor residual, Tensor x)
    {
        using var scope = NewDisposeScope();
        var sum = residual.addmm(x, weight.Value.t());
        if (bias is not null) sum.add_(bias.Value);
        return sum.MoveToOuterDisposeScope();
    }

    /// <summary>Adds the gradients of weight and bias in place and returns that of the input.</summary>
    public Tensor Backward(Tensor x, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        weight.Gradient.addmm_(gradient.t(), x);
        bias?.Gradient.add_(gradient.sum(dim: 0));
        return gradient.mm(weight.Value).MoveToOuterDisposeScope();
    }
}
