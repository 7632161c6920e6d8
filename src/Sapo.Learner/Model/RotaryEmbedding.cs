// Rotary positions: the pair (x[i], x[i + D/2]) of every head is turned by position * frequency[i].
//   first half:  x1 cos - x2 sin          second half:  x2 cos + x1 sin
// The backward pass turns the gradient back: the same with -sin.
using TorchSharp;
using Sapo.Core.Models;
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

    /// <summary>Turns heads [N, heads, D] to their positions.</summary>
    public Tensor Turn(Tensor heads) => Turn(heads, 1);

    /// <summary>Turns gradients back.</summary>
    public Tensor TurnBack(Tensor gradient) => Turn(gradient, -1);

    /// <inheritdoc />
    public void Dispose()
    {
        _cos.Dispose();
        _sin.Dispose();
    }

    private Tensor Turn(Tensor heads, int direction)
    {
        using var scope = NewDisposeScope();
        var half = heads.shape[2] / 2;
        var turned = heads * _cos;
        turned.narrow(2, 0, half).addcmul_(heads.narrow(2, half, half), _sin, -direction);
        turned.narrow(2, half, half).addcmul_(heads.narrow(2, 0, half), _sin, direction);
        return turned.MoveToOuterDisposeScope();
    }
}
