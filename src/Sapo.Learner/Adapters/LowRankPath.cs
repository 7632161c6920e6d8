// What low-rank adaptation adds to one product. Modules whose matrices are stacked (query, key and value; gate and up) have
// their A stacked too, so that x is read once; ranks and scalings may differ.
//
//   u = x A^T                  [n, R]: each module's columns are its own
//   y_i += s_i u_i B_i^T
// and backward, with g = dL/dy:
//   dB_i += s_i g_i^T u_i      du_i = s_i g_i B_i      dA += du^T x      dx += du A
using Sapo.Learner.Compute;
using Sapo.Learner.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Adapters;

/// <summary>One module's share of a <see cref="LowRankPath"/>.</summary>
/// <param name="Up">B [out, rank].</param>
/// <param name="Scaling">s.</param>
/// <param name="FirstRank">Where its columns begin in u.</param>
/// <param name="FirstOutput">Where its columns begin in y.</param>
internal sealed record LowRankPart(Parameter Up, double Scaling, long FirstRank, long FirstOutput)
{
    /// <summary>This module's columns of u.</summary>
    public Tensor RanksOf(Tensor low) => low.narrow(1, FirstRank, Up.Value.shape[1]);

    /// <summary>This module's columns of y.</summary>
    public Tensor OutputsOf(Tensor y) => y.narrow(1, FirstOutput, Up.Value.shape[0]);
}

/// <summary>The low-rank path of one product.</summary>
/// <param name="down">A [R, in] of all its modules, stacked.</param>
/// <param name="parts">Its modules.</param>
internal sealed class LowRankPath(Parameter down, IReadOnlyList<LowRankPart> parts)
{
    /// <summary>Adds s B A x to y in place.</summary>
    /// <param name="y">[n, out].</param>
    /// <param name="x">[n, in].</param>
    public void AddTo(Tensor y, Tensor x)
    {
        using var scope = NewDisposeScope();
        var low = Products.Of(x, down.Value.t());
        foreach (var part in parts) Products.AddTo(part.OutputsOf(y), part.RanksOf(low) * part.Scaling, part.Up.Value.t());
    }

    /// <summary>Adds the gradients of A and B, and that of x to what it already is.</summary>
    /// <param name="x">[n, in]: the input.</param>
    /// <param name="gradient">[n, out]: dL/dy.</param>
    /// <param name="input">[n, in]: dL/dx, added to in place.</param>
    public void Backward(Tensor x, Tensor gradient, Tensor input)
    {
        using var scope = NewDisposeScope();
        var low = Products.Of(x, down.Value.t());
        var lowGradient = low.empty_like();
        foreach (var part in parts)
        {
            var output = part.OutputsOf(gradient);
            if (part.Up.Gradient is { } up) Products.AddTo(up, output.t(), part.RanksOf(low) * part.Scaling);
            part.RanksOf(lowGradient).copy_(Products.Of(output, part.Up.Value)).mul_(part.Scaling);
        }
        if (down.Gradient is { } sum) Products.AddTo(sum, lowGradient.t(), x);
        Products.AddTo(input, lowGradient, down.Value);
    }
}
