// Decoding with ONNX Runtime GenAI's Generator. A generator runs a fixed batch: its rows begin together and none can be
// replaced. So this session remembers each row's tokens, and begins a new batch from them whenever a step asks for other
// rows, or for another continuation, than the running batch has. The scheduler therefore starts rows together and leaves
// the ones that finish in place, until all have (StartsRowsTogether).
//
// GenAI calls only a greedy search; the draw is in the graph, whose extra inputs [rows, 1] are tensors over RowBuffers and
// whose logits are 1 at the token drawn. Appending the prompts runs the graph, and with it the first draw; each further
// GenerateNextToken runs it again.
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntimeGenAI;

namespace Sapo.Rollout.Decoding;

/// <summary>The decode session over GenAI. Owns its generator, and the model where it is told to; borrows the buffers.</summary>
internal sealed unsafe class GenAiDecodeSession : IDecodeSession
{
    private readonly Model _model;
    private readonly RowBuffers _rows;
    private readonly int _padToken, _positions;
    private readonly bool _ownsModel;
    private readonly List<int>[] _tokens;
    private Batch? _batch;

    /// <summary>A session over rows.</summary>
    /// <param name="version">The version.</param>
    /// <param name="model">Its model.</param>
    /// <param name="rows">Inputs and outputs; outlives the session.</param>
    /// <param name="vocabSize">The first id that is no token: it pads.</param>
    /// <param name="positions">Longest sequence.</param>
    /// <param name="ownsModel">Whether disposing the session disposes the model.</param>
    public GenAiDecodeSession(PolicyVersion version, Model model, RowBuffers rows, int vocabSize, int positions, bool ownsModel)
    {
        (Version, _model, _rows, _padToken, _positions, _ownsModel) = (version, model, rows, vocabSize, positions, ownsModel);
        _tokens = [.. Enumerable.Range(0, rows.Rows).Select(_ => new List<int>())];
    }

    /// <inheritdoc />
    public PolicyVersion Version { get; }

    /// <summary>Two: a batch of one takes its padding for tokens, and cannot do without where its prompt is a single token.</summary>
    public int MinimumRows => 2;

    /// <inheritdoc />
    public bool StartsRowsTogether => true;

    /// <inheritdoc />
    public long PrefilledTokens { get; private set; }

    /// <summary>Positions a batch has room for: rows are padded to the longest, so a short one's steps come on top of that.</summary>
    public static int BatchPositions(int positions) => 2 * positions;

    /// <summary>Remembers the tokens; the batch that needs them computes them.</summary>
    public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position)
    {
        Truncate(row, position);
        _tokens[row].AddRange(tokenIds);
    }

    /// <inheritdoc />
    public void CopyRow(int from, int to, int length)
    {
        if (from == to) return;
        _tokens[to].Clear();
        _tokens[to].AddRange(_tokens[from].Take(length));
    }

    /// <inheritdoc />
    public void Decode(int firstRow, int rowCount, bool truncate)
    {
        var continues = _batch is { } running && running.FirstRow == firstRow && running.RowCount == rowCount && running.HasRoom;
        for (var row = firstRow; row < firstRow + rowCount; row++)
        {
            if (IsIdle(row)) continue;
            var input = (int)_rows.InputIds.Span[row];
            continues &= _rows.Lengths.Span[row] == _tokens[row].Count && input == _rows.SampledTokens.Span[row] && _rows.Lengths.Span[row] > 0;
            Truncate(row, _rows.Lengths.Span[row]);
            _tokens[row].Add(input);
        }
        if (!continues) Begin(firstRow, rowCount);
        _batch!.Step(_rows, truncate);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _batch?.Dispose();
        _batch = null;
        if (!_ownsModel) return;
        _model.Dispose();
        NativeHeap.ReturnFreePages();
    }

    private bool IsIdle(int row) => _rows.InputIds.Span[row] == RowBuffers.IdleRow;

    private void Truncate(int row, int position)
    {
        if (position > _tokens[row].Count) throw new InvalidOperationException($"Row {row} holds {_tokens[row].Count} positions; position {position} cannot follow.");
        _tokens[row].RemoveRange(position, _tokens[row].Count - position);
    }

    private void Begin(int firstRow, int rowCount)
    {
        _batch?.Dispose();
        _batch = null;
        var rows = Enumerable.Range(firstRow, rowCount).ToArray();
        var width = Math.Max(2, rows.Max(row => IsIdle(row) ? 1 : _tokens[row].Count)); // a single column takes another path, which rounds differently
        var prompts = new int[rowCount * width];
        Array.Fill(prompts, _padToken);
        foreach (var row in rows)
        {
            var prompt = prompts.AsSpan((row - firstRow) * width, width);
            if (IsIdle(row)) prompt[0] = 0; // any token: what it leads to is not looked at
            else CollectionsMarshal.AsSpan(_tokens[row]).CopyTo(prompt);
        }
        _batch = new Batch(_model, _rows, firstRow, rowCount, Math.Min(BatchPositions(_positions), width + _positions));
        _batch.Append(prompts);
        PrefilledTokens += rows.Sum(row => IsIdle(row) ? 0 : _tokens[row].Count);
    }

    /// <summary>A generator and the tensors that are its extra inputs.</summary>
    private sealed class Batch : IDisposable
    {
        private readonly Generator _generator;
        private readonly List<Tensor> _inputs = [];
        private readonly int _maxLength;

        public Batch(Model model, RowBuffers rows, int firstRow, int rowCount, int maxLength)
        {
            (FirstRow, RowCount, _maxLength) = (firstRow, rowCount, maxLength);
            using var options = new GeneratorParams(model);
            options.SetSearchOption("batch_size", rowCount);
            options.SetSearchOption("max_length", maxLength);
            _generator = new Generator(model, options);
            SetInput(DecodeGraph.Uniform, ElementType.float32, rows.Uniforms.Pointer + firstRow);
            SetInput(DecodeGraph.Temperature, ElementType.float32, rows.Temperatures.Pointer + firstRow);
            SetInput(DecodeGraph.TopK, ElementType.int64, rows.TopKs.Pointer + firstRow);
            SetInput(DecodeGraph.TopP, ElementType.float32, rows.TopPs.Pointer + firstRow);
            SetInput(DecodeGraph.MinP, ElementType.float32, rows.MinPs.Pointer + firstRow);
            SetInput(DecodeGraph.MinPFirst, ElementType.bool_t, rows.MinPFirst.Pointer + firstRow);
            SetInput(DecodeGraph.KeptLimit, ElementType.int64, rows.KeptLimits.Pointer + firstRow);
            SetInput(DecodeGraph.RepetitionPenalty, ElementType.float32, rows.RepetitionPenalties.Pointer + firstRow);
            SetInput(DecodeGraph.FrequencyPenalty, ElementType.float32, rows.FrequencyPenalties.Pointer + firstRow);
            SetInput(DecodeGraph.PresencePenalty, ElementType.float32, rows.PresencePenalties.Pointer + firstRow);
            SetInput(DecodeGraph.History, ElementType.int64, rows.History.Pointer + (long)firstRow * rows.HistoryWidth, rows.HistoryWidth);
            SetInput(DecodeGraph.HistoryLength, ElementType.int64, rows.HistoryLengths.Pointer + firstRow);
            SetInput(DecodeGraph.HistoryCounts, ElementType.float32, rows.HistoryCounts.Pointer + (long)firstRow * rows.HistoryWidth, rows.HistoryWidth);
            SetInput(DecodeGraph.Alternatives, ElementType.int64, rows.WantedAlternatives.Pointer + firstRow);
            SetInput(DecodeGraph.ForcedToken, ElementType.int64, rows.ForcedTokens.Pointer + firstRow);
        }

        public int FirstRow { get; }

        public int RowCount { get; }

        public bool HasRoom => _generator.TokenCount() < (ulong)_maxLength;

        public void Append(int[] prompts) => _generator.AppendTokens(prompts);

        public void Step(RowBuffers rows, bool truncate)
        {
            _generator.GenerateNextToken();
            Read(DecodeGraph.SampledToken, rows.SampledTokens);
            Read(DecodeGraph.SampledLogProb, rows.SampledLogProbs);
            Read(DecodeGraph.UntruncatedLogProb, rows.UntruncatedLogProbs);
            if (truncate)
            {
                Read(DecodeGraph.KeptCount, rows.KeptCounts);
                Read(DecodeGraph.KeptIds, rows.KeptIds, rows.KeptWidth);
            }
            if (rows.MostAlternatives(FirstRow, RowCount) == 0) return;
            using Tensor ids = _generator.GetOutput(DecodeGraph.AlternativeIds), logProbs = _generator.GetOutput(DecodeGraph.AlternativeLogProbs);
            rows.StoreAlternatives(FirstRow, RowCount, ids.GetData<long>(), logProbs.GetData<float>());
        }

        public void Dispose()
        {
            _generator.Dispose();
            foreach (var input in _inputs) input.Dispose();
        }

        private void SetInput(string name, ElementType type, void* start, int width = 1)
        {
            var input = new Tensor((nint)start, [RowCount, width], type);
            _inputs.Add(input);
            _generator.SetModelInput(name, input);
        }

        private void Read<T>(string name, NativeBuffer<T> destination, int width = 1)
            where T : unmanaged
        {
            using var output = _generator.GetOutput(name);
            output.GetData<T>().CopyTo(destination.Slice((long)FirstRow * width, RowCount * width));
        }
    }
}
