// Decoding a stock graph: where our own decode graph takes lengths and samples, this one takes an attention mask and gives
// logits, so a step is two runs, and the mask is written anew for each:
//
//   ids, mask, KeyValueCache ──> stock graph ──> logits [rows, vocabulary] ──> sampling head ──> RowBuffers outputs
//
// A row's mask is 1 up to its length and 0 behind it; the graph derives each row's length from it, so rows of different
// lengths decode side by side and join and leave freely, as with our own graph.
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Decoding;

/// <summary>The decode session over a stock graph. Owns its bindings, and the model where it is told to; borrows cache and buffers.</summary>
internal sealed unsafe class StockDecodeSession : IDecodeSession
{
    private readonly StockModel _model;
    private readonly KeyValueCache _cache;
    private readonly RowBuffers _rows;
    private readonly bool _ownsModel;
    private readonly DrawBinding _draw;
    private readonly RunOptions _runOptions = new();
    private readonly Dictionary<(int First, int Count), OrtIoBinding> _graphBindings = [];
    private readonly Dictionary<(int First, int Count, bool Truncate, int Alternatives), OrtIoBinding> _headBindings = [];
    private readonly NativeBuffer<float> _logits;
    private readonly NativeBuffer<long> _mask;
    private NativeBuffer<long> _ids;

    /// <summary>A session over rows that exist.</summary>
    /// <param name="model">The model.</param>
    /// <param name="cache">Keys and values; outlives the session.</param>
    /// <param name="rows">Inputs and outputs, as many rows as the cache; outlives the session.</param>
    /// <param name="ownsModel">Whether disposing the session disposes the model.</param>
    public StockDecodeSession(StockModel model, KeyValueCache cache, RowBuffers rows, bool ownsModel)
    {
        (_model, _cache, _rows, _ownsModel, _draw) = (model, cache, rows, ownsModel, new DrawBinding(rows));
        (_logits, _mask, _ids) = (new((long)rows.Rows * model.Config.VocabSize, clear: false), new((long)rows.Rows * cache.Positions, clear: false), new(Math.Max(rows.Rows, cache.Positions)));
    }

    /// <inheritdoc />
    public PolicyVersion Version => _model.Version;

    /// <summary>As for our own graph: without prepacking a product with a single row rounds differently.</summary>
    public int MinimumRows => _model.IsPrepacked ? 1 : 2;

    /// <inheritdoc />
    public bool StartsRowsTogether => false;

    /// <inheritdoc />
    public long PrefilledTokens { get; private set; }

    /// <inheritdoc />
    public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position)
    {
        var count = Math.Max(2, tokenIds.Length); // one token alone takes another path, which rounds differently: see OrtDecodeSession
        for (var i = 0; i < count; i++) _ids.Pointer[i] = tokenIds[Math.Min(i, tokenIds.Length - 1)];
        _mask.Span[..(position + count)].Fill(1);
        Run(row, 1, count, position + count, logits: false);
        PrefilledTokens += tokenIds.Length;
    }

    /// <inheritdoc />
    public void CopyRow(int from, int to, int length) => _cache.CopyRow(from, to, length);

    /// <inheritdoc />
    public void Decode(int firstRow, int rowCount, bool truncate)
    {
        var total = 0;
        foreach (var length in _rows.Lengths.Span.Slice(firstRow, rowCount)) total = Math.Max(total, length + 1);
        for (var i = 0; i < rowCount; i++)
        {
            _ids.Pointer[i] = Math.Max(0, _rows.InputIds.Span[firstRow + i]); // an idle row feeds any token
            var mask = _mask.Span.Slice(i * total, total);
            var valid = _rows.Lengths.Span[firstRow + i] + 1;
            mask[..valid].Fill(1);
            mask[valid..].Clear();
        }
        Run(firstRow, rowCount, 1, total, logits: true);
        *_rows.Truncate.Pointer = truncate;
        var alternatives = _rows.MostAlternatives(firstRow, rowCount);
        var key = (firstRow, rowCount, truncate, alternatives);
        if (!_headBindings.TryGetValue(key, out var head)) _headBindings.Add(key, head = BindHead(firstRow, rowCount, truncate, alternatives));
        _model.Head.RunWithBinding(_runOptions, head);
        _draw.Store(firstRow, rowCount, alternatives);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var binding in _graphBindings.Values) binding.Dispose();
        foreach (var binding in _headBindings.Values) binding.Dispose();
        foreach (var owned in new IDisposable[] { _runOptions, _draw, _logits, _mask, _ids }) owned.Dispose();
        if (_ownsModel) _model.Dispose();
    }

    // A prefill has a binding of its own, with a negative count: the same rows without logits.
    private void Run(int first, int count, int width, int total, bool logits)
    {
        var key = (first, logits ? count : -count);
        if (!_graphBindings.TryGetValue(key, out var binding)) _graphBindings.Add(key, binding = BindGraph(first, count, logits));
        binding.BindInput(_model.NameOf("input_ids"), TensorElementType.Int64, [count, width], _ids.Pointer, sizeof(long));
        binding.BindInput(_model.NameOf("attention_mask"), TensorElementType.Int64, [count, total], _mask.Pointer, sizeof(long));
        _model.Session.RunWithBinding(_runOptions, binding);
    }

    private OrtIoBinding BindGraph(int first, int count, bool logits)
    {
        var binding = _model.Session.CreateIoBinding();
        long[] shape = [count, _cache.Heads, _cache.Positions, _cache.HeadSize];
        for (var layer = 0; layer < _cache.LayerCount; layer++)
            foreach (var keys in new[] { true, false })
            {
                using var cache = TensorBinding.TensorOver(TensorElementType.Float, shape, keys ? _cache.Keys(layer, first) : _cache.Values(layer, first), sizeof(float));
                binding.BindInput(_model.Past(layer, keys), cache);
                binding.BindOutput(_model.Present(layer, keys), cache);
            }
        if (logits) binding.BindOutput(_model.NameOf("logits"), TensorElementType.Float, [count, 1, _model.Config.VocabSize], _logits.Pointer, sizeof(float));
        return binding;
    }

    private OrtIoBinding BindHead(int first, int count, bool truncate, int alternatives)
    {
        var binding = _model.Head.CreateIoBinding();
        binding.BindInput("logits", TensorElementType.Float, [count, _model.Config.VocabSize], _logits.Pointer, sizeof(float));
        _draw.BindInputs(binding, first, count);
        _draw.BindOutputs(binding, first, count, truncate, alternatives);
        return binding;
    }
}
