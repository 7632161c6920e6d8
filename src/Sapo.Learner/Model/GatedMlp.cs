// down(silu(gate(x)) * up(x)), gate and up in one product. With s = sigmoid(gate) and silu = gate * s:
//   d up = d * silu        d gate = d * up * (s + silu - s * silu)
using Sapo.Learner.Compute;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>A dense MLP, or one expert.</summary>
internal sealed class GatedMlp
{
    private readonly Linear _gateUp, _down;

    /// <summary>Binds the parameters below a prefix such as <c>model.layers.0.mlp.</c>.</summary>
    public GatedMlp(PolicyWeights weights, string prefix)
    {
        _gateUp = weights.Linear(prefix + "gate_proj", prefix + "up_proj");
        _down = weights.Linear(prefix + "down_proj");
    }

    /// <summary>[n, 2 x width]: gate and up, all that the backward pass needs beside the input.</summary>
    public Tensor GateUp(Tensor x) => _gateUp.Forward(x);

    /// <summary>[n, hidden]: the output, from <see cref="GateUp"/>.</summary>
    public Tensor Forward(Tensor gateUp)
    {
        using var scope = NewDisposeScope();
        return _down.Forward(Activate(gateUp)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Forward"/>, added to the residual stream.</summary>
    public Tensor ForwardAddedTo(Tensor residual, Tensor gateUp)
    {
        using var scope = NewDisposeScope();
        return _down.ForwardAddedTo(residual, Activate(gateUp)).MoveToOuterDisposeScope();
    }

    /// <summary>Adds the gradients of the parameters and returns that of x.</summary>
    /// <param name="x">[n, hidden]: the input.</param>
    /// <param name="gateUp">From <see cref="GateUp"/>; overwritten with its gradient, since it is the largest of what a layer keeps.</param>
    /// <param name="gradient">[n, hidden]: dL/doutput.</param>
    public Tensor Backward(Tensor x, Tensor gateUp, Tensor gradient)
    {
        using var scope = NewDisposeScope();
        var activated = gateUp.new_empty([gateUp.shape[0], gateUp.shape[1] / 2]);
        ComputeThreads.Shared.ForBlocks(gateUp, (first, count, _) => ToSlopes(gateUp.narrow(0, first, count), activated.narrow(0, first, count)));
        var outer = _down.Backward(activated, gradient);
        ComputeThreads.Shared.ForBlocks(gateUp, (first, count, _) =>
        {
            var (gate, up) = Halves(gateUp.narrow(0, first, count));
            gate.mul_(outer.narrow(0, first, count));
            up.mul_(outer.narrow(0, first, count));
        });
        return _gateUp.Backward(x, gateUp).MoveToOuterDisposeScope();
    }

    /// <summary>Gate and up of some rows become what d is to be multiplied with, and <paramref name="activated"/> is filled.</summary>
    private static void ToSlopes(Tensor gateUp, Tensor activated)
    {
        var (gate, up) = Halves(gateUp);
        var sigmoid = gate.sigmoid();
        var silu = gate * sigmoid;
        activated.copy_(silu).mul_(up);
        gate.copy_(sigmoid.addcmul_(silu, sigmoid, -1).add_(silu).mul_(up));
        up.copy_(silu);
    }

    private static Tensor Activate(Tensor gateUp)
    {
        using var scope = NewDisposeScope();
        var activated = gateUp.new_empty([gateUp.shape[0], gateUp.shape[1] / 2]);
        ComputeThreads.Shared.ForBlocks(gateUp, (first, count, _) =>
        {
            var (gate, up) = Halves(gateUp.narrow(0, first, count));
            activated.narrow(0, first, count).copy_(gate.silu()).mul_(up);
        });
        return activated.MoveToOuterDisposeScope();
    }

    private static (Tensor Gate, Tensor Up) Halves(Tensor gateUp)
    {
        var width = gateUp.shape[1] / 2;
        return (gateUp.narrow(1, 0, width), gateUp.narrow(1, width, width));
    }
}
