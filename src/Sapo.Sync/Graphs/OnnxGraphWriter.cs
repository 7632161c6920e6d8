using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the ONNX graphs of a model. Their initializers point into model.safetensors, so they depend on the model and its file's layout alone, not on the weights.</summary>
internal sealed class OnnxGraphWriter
{
    private readonly ModelConfig _config;
    private readonly IReadOnlyDictionary<string, long> _fileOffsets;
    private readonly int _positions;

    /// <summary>A writer for one model and one layout of its weights.</summary>
    /// <param name="config">The model.</param>
    /// <param name="fileOffsets">First byte of every parameter in model.safetensors.</param>
    /// <param name="maxSequenceLength">Longest sequence that will be run, or null for the model's own limit: bounds the rotary tables.</param>
    /// <exception cref="UserErrorException">The model is of a kind no graph can be written for.</exception>
    public OnnxGraphWriter(ModelConfig config, IReadOnlyDictionary<string, long> fileOffsets, int? maxSequenceLength = null)
    {
        if (config.Mixture is not null)
            throw new UserErrorException($"A graph for {config.ModelType} (mixture of experts) cannot be written", "a dense model", "Use a dense model");
        (_config, _fileOffsets) = (config, fileOffsets);
        _positions = Math.Min(config.MaxPositions, maxSequenceLength ?? int.MaxValue);
    }

    /// <summary>decode.onnx: token ids and caches in, one sampled token per row with its log-probs out.</summary>
    public byte[] DecodeGraph()
    {
        var graph = new GraphBuilder("decode");
        var ids = graph.Input("input_ids", ElementType.Int64, "batch", "sequence");
        var lengths = new CacheLengths(graph.Input("seqlens_k", ElementType.Int32, "batch"), graph.Input("total_sequence_length", ElementType.Int32));
        var lastIndex = graph.Input("last_index", ElementType.Int64, "batch");
        var inputs = DeclareDrawInputs(graph);
        var layers = new DecoderLayers(graph, _config, _fileOffsets);
        var hidden = layers.Write(ids, lengths, _positions);
        var logits = layers.Logits(layers.AtPosition(hidden, lastIndex));
        DeclareSampled(graph, new SamplingHead(graph, _config.VocabSize, inputs).Write(logits));
        return graph.WriteModel();
    }

    /// <summary>The sampling head alone, over an input <c>logits</c> [batch, vocabulary]: what tests of the head run.</summary>
    public static byte[] HeadGraph(int vocabulary)
    {
        var graph = new GraphBuilder("head");
        var logits = graph.Input("logits", ElementType.Float, "batch", vocabulary);
        var inputs = DeclareDrawInputs(graph);
        DeclareSampled(graph, new SamplingHead(graph, vocabulary, inputs).Write(logits));
        return graph.WriteModel();
    }

    private static DrawInputs DeclareDrawInputs(GraphBuilder graph) => new(
        graph.Input("uniform", ElementType.Float, "batch"),
        graph.Input("temperature", ElementType.Float, "batch"),
        graph.Input("top_k", ElementType.Int64, "batch"),
        graph.Input("top_p", ElementType.Float, "batch"),
        graph.Input("min_p", ElementType.Float, "batch"),
        graph.Input("truncate", ElementType.Bool),
        graph.Input("forced_token", ElementType.Int64, "batch"));

    private static void DeclareSampled(GraphBuilder graph, SampledTokens sampled)
    {
        graph.Output("sampled_token", sampled.Token, ElementType.Int64, "batch");
        graph.Output("sampled_logprob", sampled.LogProb, ElementType.Float, "batch");
        graph.Output("untruncated_logprob", sampled.UntruncatedLogProb, ElementType.Float, "batch");
        graph.Output("kept_count", sampled.KeptCount, ElementType.Int64, "batch");
        graph.Output("kept_ids", sampled.KeptIds, ElementType.Int64, "batch", "kept");
    }
}
