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
    private readonly NativeBuffer<long> _alternativeIds;
    private readonly NativeBuffer<float> _alternativeLogProbs;
    private NativeBuffer<long> _prefillIds = new(64);

    /// <summary>A session over rows that exist.</summary>
    /// <param name="model">The version.</param>
    /// <param name="cache">Keys and values; outlives the session.</param>
    /// <param name="rows">Inputs and outputs, as many rows as the cache; outlives the session.</param>
    /// <param name="ownsModel">Whether disposing the session disposes the model.</param>
    public OrtDecodeSession(OrtPolicyModel model, KeyValueCache cache, RowBuffers rows, bool ownsModel)
    {
        (_model, _cache, _rows, _ownsModel) = (model, cache, rows, ownsModel);
        var listed = (long)rows.Rows * GenerationRequest.MaxAlternatives;
        (_alternativeIds, _alternativeLogProbs) = (new(listed, clear: false), new(listed, clear: false));
    }

    /// <inheritdoc />
    public PolicyVersion Version => _model.Version;

    /// <summary>Two without prepacking: a product with a single row then takes another path, which rounds differently.</summary>
    public int MinimumRows => _model.IsPrepacked ? 1 : 2;

    /// <inheritdoc />
    public bool StartsRowsTogether => false;

    /// <inheritdoc />
    public long PrefilledTokens { get; private set; }

    /// <inheritdoc />
    public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position)
    {
        // Attention scores of a single token take another path, which rounds differently. So that keys and values do not
        // depend on how a prompt was cut, one token is computed twice, the copy at the position behind it, which is
        // overwritten before it is ever read.
        var count = Math.Max(2, tokenIds.Length);
        if (count > _prefillIds.Length)
        {
            _prefillIds.Dispose();
            _prefillIds = new(Math.Max(count, 2 * _prefillIds.Length));
        }
        for (var i = 0; i < count; i++) _prefillIds.Pointer[i] = tokenIds[Math.Min(i, tokenIds.Length - 1)];
        if (!_prefillBindings.TryGetValue(row, out var binding)) _prefillBindings.Add(row, binding = Bind(row, 1));
        BindInput(binding, DecodeGraph.InputIds, TensorElementType.Int64, [1, count], _prefillIds.Pointer, sizeof(long));
        _rows.Lengths.Pointer[row] = position + count - 1;
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
        if (alternatives == 0) return;
        var listed = rowCount * alternatives;
        _rows.StoreAlternatives(firstRow, rowCount, _alternativeIds.Slice(0, listed), _alternativeLogProbs.Slice(0, listed));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var binding in _decodeBindings.Values) binding.Dispose();
        foreach (var binding in _prefillBindings.Values) binding.Dispose();
        _runOptions.Dispose();
        _prefillIds.Dispose();
        _alternativeIds.Dispose();
        _alternativeLogProbs.Dispose();
        if (_ownsModel) _model.Dispose();
    }

    private OrtIoBinding BindDecode(int first, int count, bool truncate, int alternatives)
    {
        var binding = Bind(first, count);
        BindInput(binding, DecodeGraph.InputIds, TensorElementType.Int64, [count, 1], _rows.InputIds.Pointer + first, sizeof(long));
        BindOutput(binding, DecodeGraph.SampledToken, TensorElementType.Int64, [count], _rows.SampledTokens.Pointer + first, sizeof(long));
        BindOutput(binding, DecodeGraph.SampledLogProb, TensorElementType.Float, [count], _rows.SampledLogProbs.Pointer + first, sizeof(float));
        BindOutput(binding, DecodeGraph.UntruncatedLogProb, TensorElementType.Float, [count], _rows.UntruncatedLogProbs.Pointer + first, sizeof(float));
        if (truncate)
        {
            BindOutput(binding, DecodeGraph.KeptCount, TensorElementType.Int64, [count], _rows.KeptCounts.Pointer + first, sizeof(long));
            BindOutput(binding, DecodeGraph.KeptIds, TensorElementType.Int64, [count, _rows.KeptWidth], _rows.KeptIds.Pointer + (long)first * _rows.KeptWidth, sizeof(long));
        }
        if (alternatives > 0)
        {
            BindOutput(binding, DecodeGraph.AlternativeIds, TensorElementType.Int64, [count, alternatives], _alternativeIds.Pointer, sizeof(long));
            BindOutput(binding, DecodeGraph.AlternativeLogProbs, TensorElementType.Float, [count, alternatives], _alternativeLogProbs.Pointer, sizeof(float));
        }
        return binding;
    }

    // Everything but the token ids and the sampled outputs, which a prefill does not fetch.
    private OrtIoBinding Bind(int first, int count)
    {
        var binding = _model.Session.CreateIoBinding();
        BindInput(binding, DecodeGraph.Lengths, TensorElementType.Int32, [count], _rows.Lengths.Pointer + first, sizeof(int));
        BindInput(binding, DecodeGraph.TotalLength, TensorElementType.Int32, [], _rows.TotalLength.Pointer, sizeof(int));
        BindInput(binding, DecodeGraph.LastIndex, TensorElementType.Int64, [count], _rows.LastIndices.Pointer + first, sizeof(long));
        BindInput(binding, DecodeGraph.Uniform, TensorElementType.Float, [count], _rows.Uniforms.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.Temperature, TensorElementType.Float, [count], _rows.Temperatures.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.TopK, TensorElementType.Int64, [count], _rows.TopKs.Pointer + first, sizeof(long));
        BindInput(binding, DecodeGraph.TopP, TensorElementType.Float, [count], _rows.TopPs.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.MinP, TensorElementType.Float, [count], _rows.MinPs.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.MinPFirst, TensorElementType.Bool, [count], _rows.MinPFirst.Pointer + first, sizeof(bool));
        BindInput(binding, DecodeGraph.KeptLimit, TensorElementType.Int64, [], _rows.KeptLimits.Pointer, sizeof(long));
        BindInput(binding, DecodeGraph.RepetitionPenalty, TensorElementType.Float, [count], _rows.RepetitionPenalties.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.FrequencyPenalty, TensorElementType.Float, [count], _rows.FrequencyPenalties.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.PresencePenalty, TensorElementType.Float, [count], _rows.PresencePenalties.Pointer + first, sizeof(float));
        BindInput(binding, DecodeGraph.History, TensorElementType.Int64, [count, _rows.HistoryWidth], _rows.History.Pointer + (long)first * _rows.HistoryWidth, sizeof(long));
        BindInput(binding, DecodeGraph.HistoryLength, TensorElementType.Int64, [count], _rows.HistoryLengths.Pointer + first, sizeof(long));
        BindInput(binding, DecodeGraph.HistoryCounts, TensorElementType.Float, [count, _rows.HistoryWidth], _rows.HistoryCounts.Pointer + (long)first * _rows.HistoryWidth, sizeof(float));
        BindInput(binding, DecodeGraph.Alternatives, TensorElementType.Int64, [count], _rows.WantedAlternatives.Pointer + first, sizeof(long));
        BindInput(binding, DecodeGraph.Truncate, TensorElementType.Bool, [], _rows.Truncate.Pointer, sizeof(bool));
        BindInput(binding, DecodeGraph.ForcedToken, TensorElementType.Int64, [count], _rows.ForcedTokens.Pointer + first, sizeof(long));
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
        using var value = Value(type, shape, start, _cache.ElementSize);
        binding.BindInput(DecodeGraph.Past(layer, keys), value);
        binding.BindOutput(DecodeGraph.Present(layer, keys), value);
    }

    // A binding keeps its own reference to the tensor, and the memory is ours: the wrapper can go at once.
    private static void BindInput(OrtIoBinding binding, string name, TensorElementType type, long[] shape, void* start, int elementSize)
    {
        using var value = Value(type, shape, start, elementSize);
        binding.BindInput(name, value);
    }

    private static void BindOutput(OrtIoBinding binding, string name, TensorElementType type, long[] shape, void* start, int elementSize)
    {
        using var value = Value(type, shape, start, elementSize);
        binding.BindOutput(name, value);
    }

    private static OrtValue Value(TensorElementType type, long[] shape, void* start, int elementSize)
    {
        long length = 1;
        foreach (var size in shape) length *= size;
        return OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, type, shape, (nint)start, length * elementSize);
    }
}
