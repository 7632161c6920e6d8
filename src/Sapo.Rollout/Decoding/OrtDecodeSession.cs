// Decoding with ONNX Runtime directly. Every input and output of a step lies in native memory that outlives the session:
// a binding names those places once per (first row, row count), so a step is: write the inputs, run, read the outputs.
//
//   RowBuffers inputs ─┐                        ┌─> RowBuffers outputs (token, log-probs, kept ids, alternatives)
//                      ├─> InferenceSession.Run ─┤
//   KeyValueCache ─────┘   (binding)            └─> the same KeyValueCache: past and present share memory
//
// Nothing managed is allocated by a step whose binding exists.
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>The decode session over ONNX Runtime. Owns its bindings, and its model where it is told to; borrows cache and buffers.</summary>
internal sealed unsafe class OrtDecodeSession : IDecodeSession
{
    private readonly OrtPolicyModel _model;
    private readonly KeyValueCache _cache;
    private readonly RowBuffers _rows;
    private readonly bool _ownsModel;
    private readonly RunOptions _runOptions = new();
    private readonly Dictionary<(int First, int Count, bool Truncate, int Alternatives), OrtIoBinding> _decodeBindings = [];
    private readonly Dictionary<int, OrtIoBinding> _prefillBindings = [];
    private readonly DrawBinding _draw;
    private readonly NativeBuffer<long> _nothingSampled = new(1);
    private NativeBuffer<long> _prefillIds = new(64);

    /// <summary>A session over rows that exist.</summary>
    /// <param name="model">The version.</param>
    /// <param name="cache">Keys and values; outlives the session.</param>
    /// <param name="rows">Inputs and outputs, as many rows as the cache; outlives the session.</param>
    /// <param name="ownsModel">Whether disposing the session disposes the model.</param>
    public OrtDecodeSession(OrtPolicyModel model, KeyValueCache cache, RowBuffers rows, bool ownsModel) =>
        (_model, _cache, _rows, _ownsModel, _draw) = (model, cache, rows, ownsModel, new DrawBinding(rows));

    /// <inheritdoc />
    public PolicyVersion Version => _model.Version;

    /// <summary>Two where ONNX Runtime multiplies without prepacking: a product with a single row then takes another path, which rounds differently.</summary>
    public int MinimumRows => _model.MultipliesSingleRowsAlike ? 1 : 2;

    /// <inheritdoc />
    public bool StartsRowsTogether => false;

    /// <inheritdoc />
    public long PrefilledTokens { get; private set; }

    /// <inheritdoc />
    public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position)
    {
        // GroupQueryAttention takes another path for a single token, which rounds differently. So that keys and values do not
        // depend on how a prompt was cut, one token is computed twice, the copy at the position behind it, which is
        // overwritten before it is ever read.
        var count = Math.Max(2, tokenIds.Length);
        if (count > _prefillIds.Length)
        {
            _prefillIds.Dispose();
            _prefillIds = new(Math.Max(count, 2 * _prefillIds.Length));
        }
        for (var i = 0; i < count; i++) _prefillIds.Pointer[i] = tokenIds[Math.Min(i, tokenIds.Length - 1)];
        if (!_prefillBindings.TryGetValue(row, out var binding)) _prefillBindings.Add(row, binding = BindPrefill(row));
        binding.BindInput(DecodeGraph.InputIds, TensorElementType.Int64, [1, count], _prefillIds.Pointer, sizeof(long));
        _rows.Lengths.Pointer[row] = position + count - 1;
        _rows.SharedWith.Pointer[row] = 0;
        *_rows.TotalLength.Pointer = position + count;
        *_rows.Truncate.Pointer = false;
        _model.Session.RunWithBinding(_runOptions, binding);
        PrefilledTokens += tokenIds.Length;
    }

    /// <inheritdoc />
    public void CopyRow(int from, int to, int length) => _cache.CopyRow(from, to, length);

    /// <inheritdoc />
    public void Decode(int firstRow, int rowCount, bool truncate)
    {
        var alternatives = _rows.MostAlternatives(firstRow, rowCount);
        var key = (firstRow, rowCount, truncate, alternatives);
        if (!_decodeBindings.TryGetValue(key, out var binding)) _decodeBindings.Add(key, binding = BindDecode(firstRow, rowCount, truncate, alternatives));
        var longest = 0;
        foreach (var length in _rows.Lengths.Span.Slice(firstRow, rowCount)) longest = Math.Max(longest, length);
        *_rows.TotalLength.Pointer = longest + 1;
        *_rows.Truncate.Pointer = truncate;
        _model.Session.RunWithBinding(_runOptions, binding);
        _draw.Store(firstRow, rowCount, alternatives);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var binding in _decodeBindings.Values) binding.Dispose();
        foreach (var binding in _prefillBindings.Values) binding.Dispose();
        _runOptions.Dispose();
        _prefillIds.Dispose();
        _nothingSampled.Dispose();
        _draw.Dispose();
        if (_ownsModel) _model.Dispose();
    }

    private OrtIoBinding BindDecode(int first, int count, bool truncate, int alternatives)
    {
        var binding = Bind(first, count);
        binding.BindInput(DecodeGraph.InputIds, TensorElementType.Int64, [count, 1], _rows.InputIds.Pointer + first, sizeof(long));
        _draw.BindOutputs(binding, first, count, truncate, alternatives);
        return binding;
    }

    private OrtIoBinding BindPrefill(int row)
    {
        var binding = Bind(row, 1);
        _nothingSampled.Span[0] = -1;
        binding.BindInput(DecodeGraph.LastIndex, TensorElementType.Int64, [1], _nothingSampled.Pointer, sizeof(long));
        return binding;
    }

    // Everything but the token ids and the sampled outputs, which a prefill does not fetch.
    private OrtIoBinding Bind(int first, int count)
    {
        var binding = _model.Session.CreateIoBinding();
        binding.BindInput(DecodeGraph.Lengths, TensorElementType.Int32, [count], _rows.Lengths.Pointer + first, sizeof(int));
        binding.BindInput(DecodeGraph.TotalLength, TensorElementType.Int32, [], _rows.TotalLength.Pointer, sizeof(int));
        binding.BindInput(DecodeGraph.LastIndex, TensorElementType.Int64, [count], _rows.LastIndices.Pointer + first, sizeof(long));
        if (_model.IsDirect)
        {
            binding.BindInput(DecodeGraph.SharedWith, TensorElementType.Int32, [count], _rows.SharedWith.Pointer + first, sizeof(int));
            binding.BindInput(DecodeGraph.SharedLengths, TensorElementType.Int32, [count], _rows.SharedLengths.Pointer + first, sizeof(int));
        }
        _draw.BindInputs(binding, first, count);
        _model.BindWeights(binding);
        long[] shape = [count, _cache.Heads, _cache.Positions, _cache.HeadSize];
        for (var layer = 0; layer < _cache.LayerCount; layer++)
        {
            BindCache(binding, layer, keys: true, shape, _cache.Keys(layer, first));
            BindCache(binding, layer, keys: false, shape, _cache.Values(layer, first));
        }
        return binding;
    }

    private void BindCache(OrtIoBinding binding, int layer, bool keys, long[] shape, byte* start)
    {
        var type = _model.Precision switch { Precision.Fp16 => TensorElementType.Float16, Precision.Bf16 => TensorElementType.BFloat16, _ => TensorElementType.Float };
        using var value = TensorBinding.TensorOver(type, shape, start, _cache.ElementSize);
        binding.BindInput(DecodeGraph.Past(layer, keys), value);
        binding.BindOutput(DecodeGraph.Present(layer, keys), value);
    }
}
