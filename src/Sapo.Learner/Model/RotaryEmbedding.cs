// Rotary positions: the pair (x[i], x[i + D/2]) of every head is turned by position * frequency[i].
//   first half:  x1 cos - x2 sin          second half:  x2 cos + x1 sin
// The backward pass turns the gradient back: the same with -sin.
using TorchSharp;
using Sapo.Core.Models;
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>Cosines and sines of a batch's positions, for all layers.</summary>
internal sealed class RotaryEmbedding : IDisposable
{
    private readonly Tensor _cos, _sin;

    /// <summary>
    /// Frequencies and angles are rounded to the model's precision, in Float32 as <see cref="RotaryTable"/> has them and as the
    /// models were trained; cosines and sines of those angles are computed in double precision.
    /// </summary>
    /// <param name="config">Frequencies and head size.</param>
    /// <param name="positions">[N] Float64: each token's position in its sequence, from 0.</param>
    /// <param name="precision">Precision of the heads that will be turned.</param>
    public RotaryEmbedding(ModelConfig config, Tensor positions, ScalarType precision)
    {
        using var scope = NewDisposeScope();
        var frequencies = tensor(config.RotaryFrequencies(), device: positions.device).to_type(precision);
        var table = arange(0, positions.max().ToDouble() + 1, 1, ScalarType.Float64, positions.device); // many tokens share a position
        var angles = outer(table.to_type(precision), frequencies).to_type(ScalarType.Float64);
        var cos = angles.cos().to_type(precision);
        var rows = positions.to_type(ScalarType.Int64);
        _cos = cat([cos, cos], dim: 1).index_select(0, rows).unsqueeze(1).DetachFromDisposeScope();
        _sin = angles.sin().to_type(precision).index_select(0, rows).unsqueeze(1).DetachFromDisposeScope();
    }

    /// <summary>Heads [N, heads, D], turned to their positions.</summary>
    public Tensor Turn(Tensor heads)
    {
        using var scope = NewDisposeScope();
        var turned = heads.new_empty(heads.shape);
        ComputeThreads.Shared.ForBlocks(turned, (first, count, _) => Turn(heads.narrow(0, first, count), turned.narrow(0, first, count), first, 1));
        return turned.MoveToOuterDisposeScope();
    }

    /// <summary>Turns gradients [N, heads, D] back, in place.</summary>
    public void TurnBack(Tensor gradient) => ComputeThreads.Shared.ForBlocks(gradient, (first, count, _) =>
    {
        var part = gradient.narrow(0, first, count);
        Turn(part.clone(), part, first, -1);
    });

    /// <inheritdoc />
    public void Dispose()
    {
        _cos.Dispose();
        _sin.Dispose();
    }

    private void Turn(Tensor heads, Tensor turned, long firstToken, int direction)
    {
        var (cos, sin, half) = (_cos.narrow(0, firstToken, heads.shape[0]), _sin.narrow(0, firstToken, heads.shape[0]), heads.shape[2] / 2);
        turned.copy_(heads).mul_(cos);
        turned.narrow(2, 0, half).addcmul_(heads.narrow(2, half, half), sin, -direction);
        turned.narrow(2, half, half).addcmul_(heads.narrow(2, 0, half), sin, direction);
    }
}
