using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the dense MLP: down(silu(gate(x)) * up(x)).</summary>
internal sealed class MlpBlock(GraphBuilder graph, ModelConfig config, CheckpointWeights weights)
{
    /// <summary>Writes one layer's MLP.</summary>
    /// <param name="layer">Index of the layer.</param>
    /// <param name="x">Normalized hidden states [B, S, hidden].</param>
    /// <returns>What is added to the residual stream, [B, S, hidden].</returns>
    public Value Write(int layer, Value x)
    {
        graph.Scope = $"layers.{layer}.mlp";
        return Gated(x, $"model.layers.{layer}.mlp.", config.MlpBias);
    }

    /// <summary>The same function of the parameters that begin with <paramref name="prefix"/>: also an expert's.</summary>
    public Value Gated(Value x, string prefix, bool bias)
    {
        var gate = weights.Linear(x, prefix + "gate_proj", bias);
        var silu = graph.Op("com.microsoft.QuickGelu", [gate], ("alpha", 1f)); // gate * sigmoid(gate)
        var gated = graph.Op("Mul", [silu, weights.Linear(x, prefix + "up_proj", bias)]);
        return weights.Linear(gated, prefix + "down_proj", bias);
    }
}
