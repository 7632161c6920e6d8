using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes what all graphs share: embedding, layers, final norm and LM head.</summary>
internal sealed class DecoderLayers(GraphBuilder graph, ModelConfig config, IReadOnlyDictionary<string, long> fileOffsets, ReducedLayout? reduced, bool direct = false)
{
    private readonly CheckpointWeights _weights = new(graph, config, fileOffsets, reduced, direct);

    /// <summary>Token ids to final hidden states.</summary>
    /// <param name="ids">int64 [B, S].</param>
    /// <param name="lengths">The rows' lengths.</param>
    /// <param name="positions">Number of positions the rotary tables cover.</param>
    /// <returns>[B, S, hidden], after the final norm.</returns>
    public Value Write(Value ids, CacheLengths lengths, int positions)
    {
        var attention = new AttentionBlock(graph, config, _weights, lengths, positions);
        var mlp = new MlpBlock(graph, config, _weights);
        var mixture = new MixtureBlock(graph, config, _weights, mlp);
        graph.Scope = "embedding";
        var residual = graph.Op("Gather", [_weights["model.embed_tokens.weight"], ids]);
        var normed = _weights.Norm(residual, "model.layers.0.input_layernorm");
        for (var layer = 0; layer < config.LayerCount; layer++)
        {
            var attended = attention.Write(layer, normed);
            (normed, residual) = _weights.AddAndNorm(residual, attended, $"model.layers.{layer}.post_attention_layernorm");
            var next = layer + 1 < config.LayerCount ? $"model.layers.{layer + 1}.input_layernorm" : "model.norm";
            var added = config.Mixture?.SparseLayers[layer] == true ? mixture.Write(layer, normed) : mlp.Write(layer, normed);
            (normed, residual) = _weights.AddAndNorm(residual, added, next);
        }
        return normed;
    }

    /// <summary>Hidden states to logits over the vocabulary, in 32-bit floats at every precision.</summary>
    /// <param name="hidden">[.., hidden].</param>
    /// <param name="wanted">See <see cref="CheckpointWeights.Project"/>.</param>
    public Value Logits(Value hidden, Value wanted = default)
    {
        graph.Scope = "head";
        var logits = _weights.Project(hidden, config.TieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight", wanted);
        return _weights.Activations == ElementType.Float ? logits : graph.Cast(logits, ElementType.Float);
    }

    /// <summary>Each row's hidden state at one position: [B, S, hidden] and int64 [B] become [B, hidden].</summary>
    public Value AtPosition(Value hidden, Value position)
    {
        graph.Scope = "head";
        return graph.Op("GatherND", [hidden, graph.Column(position)], ("batch_dims", 1));
    }
}
