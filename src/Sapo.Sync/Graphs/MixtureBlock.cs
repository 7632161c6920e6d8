// A mixture of experts in standard operators, because the weights must be read as they lie in the checkpoint: one matrix
// per expert and projection, which com.microsoft.MoE cannot. The router's probabilities choose k experts per token; each
// expert then computes the tokens that chose it and no others, and adds its weighted result to their places:
//   router -> softmax -> top-k (-> divided by their sum) -> for each expert: its rows -> MLP -> times weight -> added
// Cost: arithmetic and weight reads of k experts per token, as it should be, but about ten small nodes per expert and
// layer on every call, whether or not a token chose it: 128 experts x 48 layers are 60,000 nodes. Right for models of any
// size, fast for small ones.
using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the sparse MLP of qwen3_moe.</summary>
internal sealed class MixtureBlock(GraphBuilder graph, ModelConfig config, CheckpointWeights weights, MlpBlock mlp)
{
    /// <summary>Writes one layer's mixture.</summary>
    /// <param name="layer">Index of a sparse layer.</param>
    /// <param name="x">Normalized hidden states [B, S, hidden].</param>
    /// <returns>What is added to the residual stream, [B, S, hidden].</returns>
    public Value Write(int layer, Value x)
    {
        var mixture = config.Mixture ?? throw new InvalidOperationException("The model has no experts.");
        graph.Scope = $"layers.{layer}.mixture";
        var prefix = $"model.layers.{layer}.mlp.";
        var tokens = graph.Op("Reshape", [x, graph.Integers(-1, config.HiddenSize)]);
        var routing = Routing(mixture, tokens, prefix + "gate.weight");
        var sum = Zeros(tokens);
        for (var expert = 0; expert < mixture.Experts; expert++)
        {
            var weight = graph.Op("Gather", [routing, graph.Scalar((long)expert)], ("axis", 1));
            var rows = graph.Op("Transpose", [graph.Op("NonZero", [weight])]); // int64 [n, 1]; n may be 0
            var result = mlp.Gated(graph.Op("GatherND", [tokens, rows]), $"{prefix}experts.{expert}.", bias: false);
            var weighted = graph.Op("Mul", [result, graph.Column(graph.Op("GatherND", [weight, rows]))]);
            sum = graph.Op("ScatterND", [sum, rows, weighted], ("reduction", "add"));
        }
        return graph.Op("Reshape", [sum, graph.Op("Shape", [x])]);
    }

    // Float [tokens, experts]: what multiplies an expert's result, 0 where it was not chosen.
    private Value Routing(MixtureConfig mixture, Value tokens, string gate)
    {
        var probabilities = graph.Op("Softmax", [weights.Project(tokens, gate)], ("axis", -1));
        Value chosen = new(graph.NewName("TopK")), experts = new(graph.NewName("TopK"));
        graph.Node("TopK", [probabilities, graph.Integers(mixture.ExpertsPerToken)], [chosen.Name!, experts.Name!], ("axis", 1));
        if (mixture.NormalizeTopK) chosen = graph.Op("Div", [chosen, graph.Op("ReduceSum", [chosen, graph.Integers(1)], ("keepdims", 1))]);
        return graph.Op("ScatterElements", [Zeros(probabilities), experts, chosen], ("axis", 1));
    }

    private Value Zeros(Value like) => graph.Op("Expand", [graph.Scalar(0f), graph.Op("Shape", [like])]);
}
