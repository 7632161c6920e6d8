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
    public Value Gated(Value x, string prefix, bool bias) =>
        weights.Linear(weights.Gated(x, prefix + "gate_proj", prefix + "up_proj", bias), prefix + "down_proj", bias);
}
