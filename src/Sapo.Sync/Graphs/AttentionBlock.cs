// Self-attention of one layer: q, k, v projections -> q/k norms (qwen3) -> rotation, cache and attention in one
// GroupQueryAttention node -> output projection.
// In decode.direct.onnx the projections are one node, and that node is sapo.Attention: it takes the norms in, and which rows began
// as copies of one prompt.
// GroupQueryAttention wants a head size that is a multiple of 16. Other sizes are widened inside the graph: each half of a head
// is followed by zeros, so that the rotation still pairs element i with element i + size/2 and scores are unchanged.
// The caches then have the widened size; ModelConfig.CacheHeadSize says it, and so does the shape of the cache inputs.
using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>What attention needs to know about the rows of a call.</summary>
/// <param name="LastPosition">int32 [B]: number of valid positions of each row after this call, minus 1.</param>
/// <param name="TotalLength">int32 scalar: the largest number of valid positions of any row after this call.</param>
/// <param name="Shared">Of the engine's own operator, int32 [B] each: how many rows further on stands one that holds the same first positions, and how many those are.</param>
internal sealed record CacheLengths(Value LastPosition, Value TotalLength, (Value With, Value Lengths)? Shared = null);

/// <summary>Writes the attention of every layer.</summary>
internal sealed class AttentionBlock
{
    private readonly GraphBuilder _graph;
    private readonly ModelConfig _config;
    private readonly CheckpointWeights _weights;
    private readonly CacheLengths _lengths;
    private readonly Value _cosines, _sines;

    /// <summary>Declares the rotary tables.</summary>
    public AttentionBlock(GraphBuilder graph, ModelConfig config, CheckpointWeights weights, CacheLengths lengths, int positions)
    {
        (_graph, _config, _weights, _lengths) = (graph, config, weights, lengths);
        var table = RotaryTable.Compute(config, positions);
        int half = config.HeadSize / 2, storedHalf = config.CacheHeadSize / 2;
        _cosines = weights.AsActivation(graph.NamedConstant<float>("sapo.rotary_cosines", Widened(table.Cosines, half, storedHalf), positions, storedHalf));
        _sines = weights.AsActivation(graph.NamedConstant<float>("sapo.rotary_sines", Widened(table.Sines, half, storedHalf), positions, storedHalf));
    }

    /// <summary>Writes one layer's attention.</summary>
    /// <param name="layer">Index of the layer.</param>
    /// <param name="x">Normalized hidden states [B, S, hidden].</param>
    /// <returns>What is added to the residual stream, [B, S, hidden].</returns>
    public Value Write(int layer, Value x)
    {
        var prefix = $"model.layers.{layer}.self_attn.";
        _graph.Scope = $"layers.{layer}.attention";
        string pastKey = $"past_key_values.{layer}.key", pastValue = $"past_key_values.{layer}.value";
        string presentKey = $"present.{layer}.key", presentValue = $"present.{layer}.value", output = _graph.NewName("Attention");
        DeclareCache(pastKey, presentKey);
        DeclareCache(pastValue, presentValue);
        var (query, key, value) = _weights.Linear(x, (prefix + "q_proj", prefix + "k_proj", prefix + "v_proj"), _config.QueryKeyValueBias);
        var normsWithin = _lengths.Shared is not null && _config.QueryKeyNorm && _config.HeadSize == _config.CacheHeadSize; // zeros between would change the mean
        query = Heads(query, _config.HeadCount, normsWithin ? null : prefix + "q_norm");
        key = Heads(key, _config.KeyValueHeadCount, normsWithin ? null : prefix + "k_norm");
        value = Heads(value, _config.KeyValueHeadCount, norm: null);
        Value[] inputs = [query, key, value, new(pastKey), new(pastValue), _lengths.LastPosition, _lengths.TotalLength, _cosines, _sines];
        (string, AttributeValue)[] settings =
        [
            ("num_heads", _config.HeadCount), ("kv_num_heads", _config.KeyValueHeadCount),
            ("scale", (float)(1 / Math.Sqrt(_config.HeadSize))), ("local_window_size", _config.SlidingWindows[layer] ?? -1),
        ];
        if (_lengths.Shared is { } shared)
        {
            Value[] norms = normsWithin ? [_weights[prefix + "q_norm.weight"], _weights[prefix + "k_norm.weight"]] : [];
            _graph.Node("sapo.Attention", [.. inputs, shared.With, shared.Lengths, .. norms], [output, presentKey, presentValue], [.. settings, _weights.Epsilon]);
        }
        else
        {
            _graph.Node("com.microsoft.GroupQueryAttention", inputs, [output, presentKey, presentValue], [.. settings, ("do_rotary", 1), ("rotary_interleaved", 0)]);
        }
        return _weights.Linear(Narrowed(new Value(output)), prefix + "o_proj", _config.OutputBias);
    }

    private void DeclareCache(string past, string present)
    {
        _graph.Input(past, _weights.Activations, "batch", _config.KeyValueHeadCount, "past_length", _config.CacheHeadSize);
        _graph.Output(present, _weights.Activations, "batch", _config.KeyValueHeadCount, "present_length", _config.CacheHeadSize);
    }

    private Value Heads(Value projected, int heads, string? norm)
    {
        if (norm is not null && _config.QueryKeyNorm)
        {
            var split = _graph.Op("Reshape", [projected, _graph.Integers(0, 0, heads, _config.HeadSize)]);
            projected = _graph.Op("Reshape", [_weights.Norm(split, norm), _graph.Integers(0, 0, heads * _config.HeadSize)]);
        }
        return Widened(projected, heads);
    }

    private Value Widened(Value x, int heads)
    {
        int size = _config.HeadSize, stored = _config.CacheHeadSize;
        if (size == stored) return x;
        var halves = _graph.Op("Reshape", [x, _graph.Integers(0, 0, heads * 2, size / 2)]);
        var padded = _graph.Op("Pad", [halves, _graph.Integers(0, 0, 0, 0, 0, 0, 0, (stored - size) / 2)]);
        return _graph.Op("Reshape", [padded, _graph.Integers(0, 0, heads * stored)]);
    }

    private Value Narrowed(Value x)
    {
        int size = _config.HeadSize, stored = _config.CacheHeadSize, heads = _config.HeadCount;
        if (size == stored) return x;
        var halves = _graph.Op("Reshape", [x, _graph.Integers(0, 0, heads * 2, stored / 2)]);
        var cut = _graph.Op("Slice", [halves, _graph.Integers(0), _graph.Integers(size / 2), _graph.Integers(-1)]);
        return _graph.Op("Reshape", [cut, _graph.Integers(0, 0, heads * size)]);
    }

    private static float[] Widened(float[] table, int columns, int storedColumns)
    {
        if (columns == storedColumns) return table;
        var rows = table.Length / columns;
        var widened = new float[rows * storedColumns]; // what the extra columns hold does not matter: they turn zeros
        for (var row = 0; row < rows; row++) table.AsSpan(row * columns, columns).CopyTo(widened.AsSpan(row * storedColumns));
        return widened;
    }
}
