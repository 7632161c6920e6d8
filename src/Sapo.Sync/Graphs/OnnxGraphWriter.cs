// The graphs of a model. All share the layers (DecoderLayers); they differ in what says how long the rows are and in
// what leaves the graph:
//   decode.onnx        lengths as inputs         one sampled token per row        our own engine over ONNX Runtime
//   decode.direct.onnx the same, with weights as inputs and our own kernels       our own engine on CPUs, in 32 bits
//   model.onnx         attention mask            logits of every position         any GenAI program
//   decode.genai.onnx  attention mask            one sampled token, as one-hot    our engine over GenAI
using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>Writes the ONNX graphs of a model. Their initializers point into model.safetensors, so they depend on the model and its file's layout alone, not on the weights.</summary>
internal sealed class OnnxGraphWriter
{
    // In the order of SampledTokens.
    private static readonly (string Name, ElementType Type, Dimension[] Shape)[] SampledOutputs =
    [
        ("sampled_token", ElementType.Int64, ["batch"]),
        ("sampled_logprob", ElementType.Float, ["batch"]),
        ("untruncated_logprob", ElementType.Float, ["batch"]),
        ("kept_count", ElementType.Int64, ["batch"]),
        ("kept_ids", ElementType.Int64, ["batch", "kept"]),
        ("alternative_ids", ElementType.Int64, ["batch", "listed"]),
        ("alternative_logprobs", ElementType.Float, ["batch", "listed"]),
    ];

    private readonly ModelConfig _config;
    private readonly IReadOnlyDictionary<string, long> _fileOffsets;
    private readonly int _positions;
    private readonly ReducedLayout? _reduced;

    /// <summary>A writer for one model and one layout of its weights.</summary>
    /// <param name="config">The model.</param>
    /// <param name="fileOffsets">First byte of every parameter in model.safetensors.</param>
    /// <param name="maxSequenceLength">Longest sequence that will be run, or null for the model's own limit: bounds the rotary tables.</param>
    /// <param name="precision">What weights are read in.</param>
    public OnnxGraphWriter(ModelConfig config, IReadOnlyDictionary<string, long> fileOffsets, int? maxSequenceLength = null, Precision precision = Precision.Fp32)
    {
        _reduced = precision == Precision.Fp32 ? null : new ReducedLayout(config, precision);
        (_config, _fileOffsets) = (config, fileOffsets);
        _positions = Math.Min(config.MaxPositions, maxSequenceLength ?? int.MaxValue);
    }

    /// <summary>Number of positions the graphs can rotate: the longest sequence they run.</summary>
    public int Positions => _positions;

    /// <summary>decode.onnx: token ids and caches in, one sampled token per row with its log-probs out.</summary>
    /// <param name="direct">In 32 bits: whether weights are inputs and products the engine's own, as in decode.direct.onnx.</param>
    public byte[] DecodeGraph(bool direct = false)
    {
        var graph = new GraphBuilder("decode");
        var ids = graph.Input("input_ids", ElementType.Int64, "batch", "sequence");
        var lengths = new CacheLengths(graph.Input("seqlens_k", ElementType.Int32, "batch"), graph.Input("total_sequence_length", ElementType.Int32));
        if (direct) lengths = lengths with { Shared = (graph.Input("shared_with", ElementType.Int32, "batch"), graph.Input("shared_lengths", ElementType.Int32, "batch")) };
        var lastIndex = graph.Input("last_index", ElementType.Int64, "batch");
        var inputs = DeclareDrawInputs(graph);
        var layers = new DecoderLayers(graph, _config, _fileOffsets, _reduced, direct);
        var hidden = layers.Write(ids, lengths, _positions);
        var logits = layers.Logits(layers.AtPosition(hidden, lastIndex), wanted: lastIndex); // -1: the last position, of which nothing is wanted
        WriteHead(graph, logits, _config.VocabSize, inputs, direct);
        return graph.WriteModel();
    }

    /// <summary>model.onnx: the conventions of any ONNX Runtime GenAI decoder. Token ids, attention mask and caches in, logits of every position out.</summary>
    public byte[] LogitsGraph()
    {
        var graph = new GraphBuilder("model");
        var (ids, lengths) = DeclareMaskedInputs(graph);
        var layers = new DecoderLayers(graph, _config, _fileOffsets, _reduced);
        var logits = layers.Logits(layers.Write(ids, lengths, _positions));
        graph.Output("logits", logits, ElementType.Float, "batch", "sequence", _config.VocabSize);
        return graph.WriteModel();
    }

    /// <summary>
    /// decode.genai.onnx: GenAI's conventions with the sampling head inside. The inputs of the head are [batch, 1]; the
    /// logits are 1 at the sampled token and 0 elsewhere, so that GenAI's greedy search takes that token. They have one
    /// column more than the vocabulary: that id is never sampled and reads as the last one, so it can be GenAI's pad and
    /// end token, which no row may really end with.
    /// </summary>
    public byte[] GenAiDecodeGraph()
    {
        var graph = new GraphBuilder("decode.genai");
        var (ids, lengths) = DeclareMaskedInputs(graph);
        var inputs = DeclareDrawColumns(graph);
        var layers = new DecoderLayers(graph, _config, _fileOffsets, _reduced);
        var hidden = layers.Write(graph.Op("Min", [ids, graph.Scalar(_config.VocabSize - 1L)]), lengths, _positions);
        var logits = layers.Logits(layers.AtPosition(hidden, LastIndex(graph, ids, lengths)));
        var sampled = new SamplingHead(graph, _config.VocabSize, inputs).Write(logits);
        DeclareSampled(graph, sampled);
        var oneHot = graph.Op("OneHot", [sampled.Token, graph.Scalar(_config.VocabSize + 1L), graph.Constant([0f, 1f], 2)]);
        graph.Output("logits", graph.Op("Unsqueeze", [oneHot, graph.Integers(1)]), ElementType.Float, "batch", 1, _config.VocabSize + 1);
        return graph.WriteModel();
    }

    /// <summary>The sampling head alone, over an input <c>logits</c> [batch, vocabulary]: for stock graphs, and for tests of the head.</summary>
    /// <param name="vocabulary">Number of ids.</param>
    /// <param name="direct">Whether the head is the engine's own operator, as in decode.direct.onnx.</param>
    public static byte[] HeadGraph(int vocabulary, bool direct = false)
    {
        var graph = new GraphBuilder("head");
        var logits = graph.Input("logits", ElementType.Float, "batch", vocabulary);
        var inputs = DeclareDrawInputs(graph);
        WriteHead(graph, logits, vocabulary, inputs, direct);
        return graph.WriteModel();
    }

    // The rows' lengths come from the attention mask: how many ones a row has, and how wide the mask is.
    private static (Value Ids, CacheLengths Lengths) DeclareMaskedInputs(GraphBuilder graph)
    {
        var ids = graph.Input("input_ids", ElementType.Int64, "batch", "sequence");
        var mask = graph.Input("attention_mask", ElementType.Int64, "batch", "total_sequence");
        graph.Scope = "mask";
        var valid = graph.Op("ReduceSum", [mask, graph.Integers(1)], ("keepdims", 0));
        var last = graph.Op("Sub", [valid, graph.Scalar(1L)]);
        var total = graph.Op("Squeeze", [graph.Op("Shape", [mask], ("start", 1)), graph.Integers(0)]);
        return (ids, new CacheLengths(graph.Cast(last, ElementType.Int32), graph.Cast(total, ElementType.Int32)));
    }

    // int64 [B]: where a row's last real token stands among the new ones. A prompt is padded on the right; later calls bring real tokens alone.
    private static Value LastIndex(GraphBuilder graph, Value ids, CacheLengths lengths)
    {
        var width = graph.Op("Squeeze", [graph.Op("Shape", [ids], ("start", 1)), graph.Integers(0)]);
        return graph.Op("Min", [graph.Cast(lengths.LastPosition, ElementType.Int64), graph.Op("Sub", [width, graph.Scalar(1L)])]);
    }

    private static DrawInputs DeclareDrawInputs(GraphBuilder graph) => DeclareDrawInputs(
        graph,
        (name, type) => graph.Input(name, type, "batch"),
        cuts => (graph.Input("truncate", ElementType.Bool), graph.Input("kept_limit", ElementType.Int64)));

    // GenAI hands extra inputs over with their own shapes, one row each; whether anything is truncated is seen from the rows.
    private static DrawInputs DeclareDrawColumns(GraphBuilder graph)
    {
        graph.Scope = "draw";
        Value Column(string name, ElementType type) => graph.Op("Squeeze", [graph.Input(name, type, "batch", 1), graph.Integers(1)]);
        return DeclareDrawInputs(graph, Column, cuts => (AnyRowIsCut(graph, cuts), graph.Op("ReduceMax", [Column("kept_limit", ElementType.Int64)], ("keepdims", 0))));
    }

    private static Value AnyRowIsCut(GraphBuilder graph, (Value TopK, Value TopP, Value MinP) rows)
    {
        var byShareOrRatio = graph.Op("Or", [graph.Op("Less", [rows.TopP, graph.Scalar(1f)]), graph.Op("Greater", [rows.MinP, graph.Scalar(0f)])]);
        var cuts = graph.Op("Or", [graph.Op("Greater", [rows.TopK, graph.Scalar(0L)]), byShareOrRatio]);
        return graph.Op("Greater", [graph.CountTrue(cuts, axis: 0), graph.Scalar(0L)]);
    }

    /// <param name="graph">The graph.</param>
    /// <param name="perRow">Declares an input with one element per row and gives it as [B].</param>
    /// <param name="limits">Whether rows are cut at all, and how many kept ids are listed, given top-k, top-p and min-p.</param>
    private static DrawInputs DeclareDrawInputs(GraphBuilder graph, Func<string, ElementType, Value> perRow, Func<(Value TopK, Value TopP, Value MinP), (Value Truncate, Value KeptLimit)> limits)
    {
        var penalties = new PenaltyInputs(
            perRow("repetition_penalty", ElementType.Float), perRow("frequency_penalty", ElementType.Float), perRow("presence_penalty", ElementType.Float),
            graph.Input("history", ElementType.Int64, "batch", "history"), graph.Input("history_counts", ElementType.Float, "batch", "history"), perRow("history_length", ElementType.Int64));
        Value topK = perRow("top_k", ElementType.Int64), topP = perRow("top_p", ElementType.Float), minP = perRow("min_p", ElementType.Float);
        var (truncate, keptLimit) = limits((topK, topP, minP));
        return new DrawInputs(
            perRow("uniform", ElementType.Float), perRow("temperature", ElementType.Float), penalties,
            new CutInputs(topK, topP, minP, perRow("min_p_first", ElementType.Bool), keptLimit), truncate,
            perRow("forced_token", ElementType.Int64), perRow("alternatives", ElementType.Int64));
    }

    private static void WriteHead(GraphBuilder graph, Value logits, int vocabulary, DrawInputs inputs, bool direct)
    {
        if (!direct)
        {
            DeclareSampled(graph, new SamplingHead(graph, vocabulary, inputs).Write(logits));
            return;
        }
        SamplingHead.WriteDirect(graph, logits, inputs, [.. SampledOutputs.Select(output => output.Name)]);
        foreach (var (name, type, shape) in SampledOutputs) graph.Output(name, type, shape);
    }

    private static void DeclareSampled(GraphBuilder graph, SampledTokens sampled)
    {
        Value[] values = [sampled.Token, sampled.LogProb, sampled.UntruncatedLogProb, sampled.KeptCount, sampled.KeptIds, sampled.AlternativeIds, sampled.AlternativeLogProbs];
        foreach (var (value, (name, type, shape)) in values.Zip(SampledOutputs)) graph.Output(name, value, type, shape);
    }
}
