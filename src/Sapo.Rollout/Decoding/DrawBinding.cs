using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Decoding;

/// <summary>Binds the sampling head's inputs and outputs to <see cref="RowBuffers"/>, wherever the head runs: inside a decode graph or by itself.</summary>
internal sealed unsafe class DrawBinding(RowBuffers rows) : IDisposable
{
    // As wide as a step asks for; RowBuffers has room for the most.
    private readonly NativeBuffer<long> _alternativeIds = new((long)rows.Rows * GenerationRequest.MaxAlternatives, clear: false);
    private readonly NativeBuffer<float> _alternativeLogProbs = new((long)rows.Rows * GenerationRequest.MaxAlternatives, clear: false);

    /// <summary>Binds what a draw depends on.</summary>
    public void BindInputs(OrtIoBinding binding, int first, int count)
    {
        binding.BindInput(DecodeGraph.Uniform, TensorElementType.Float, [count], rows.Uniforms.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.Temperature, TensorElementType.Float, [count], rows.Temperatures.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.TopK, TensorElementType.Int64, [count], rows.TopKs.Pointer + first, sizeof(long));
        binding.BindInput(DecodeGraph.TopP, TensorElementType.Float, [count], rows.TopPs.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.MinP, TensorElementType.Float, [count], rows.MinPs.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.MinPFirst, TensorElementType.Bool, [count], rows.MinPFirst.Pointer + first, sizeof(bool));
        binding.BindInput(DecodeGraph.KeptLimit, TensorElementType.Int64, [], rows.KeptLimits.Pointer, sizeof(long));
        binding.BindInput(DecodeGraph.RepetitionPenalty, TensorElementType.Float, [count], rows.RepetitionPenalties.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.FrequencyPenalty, TensorElementType.Float, [count], rows.FrequencyPenalties.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.PresencePenalty, TensorElementType.Float, [count], rows.PresencePenalties.Pointer + first, sizeof(float));
        binding.BindInput(DecodeGraph.History, TensorElementType.Int64, [count, rows.HistoryWidth], rows.History.Pointer + (long)first * rows.HistoryWidth, sizeof(long));
        binding.BindInput(DecodeGraph.HistoryLength, TensorElementType.Int64, [count], rows.HistoryLengths.Pointer + first, sizeof(long));
        binding.BindInput(DecodeGraph.HistoryCounts, TensorElementType.Float, [count, rows.HistoryWidth], rows.HistoryCounts.Pointer + (long)first * rows.HistoryWidth, sizeof(float));
        binding.BindInput(DecodeGraph.Alternatives, TensorElementType.Int64, [count], rows.WantedAlternatives.Pointer + first, sizeof(long));
        binding.BindInput(DecodeGraph.Truncate, TensorElementType.Bool, [], rows.Truncate.Pointer, sizeof(bool));
        binding.BindInput(DecodeGraph.ForcedToken, TensorElementType.Int64, [count], rows.ForcedTokens.Pointer + first, sizeof(long));
    }

    /// <summary>Binds what a draw puts out.</summary>
    public void BindOutputs(OrtIoBinding binding, int first, int count, bool truncate, int alternatives)
    {
        binding.BindOutput(DecodeGraph.SampledToken, TensorElementType.Int64, [count], rows.SampledTokens.Pointer + first, sizeof(long));
        binding.BindOutput(DecodeGraph.SampledLogProb, TensorElementType.Float, [count], rows.SampledLogProbs.Pointer + first, sizeof(float));
        binding.BindOutput(DecodeGraph.UntruncatedLogProb, TensorElementType.Float, [count], rows.UntruncatedLogProbs.Pointer + first, sizeof(float));
        if (truncate)
        {
            binding.BindOutput(DecodeGraph.KeptCount, TensorElementType.Int64, [count], rows.KeptCounts.Pointer + first, sizeof(long));
            binding.BindOutput(DecodeGraph.KeptIds, TensorElementType.Int64, [count, rows.KeptWidth], rows.KeptIds.Pointer + (long)first * rows.KeptWidth, sizeof(long));
        }
        if (alternatives > 0)
        {
            binding.BindOutput(DecodeGraph.AlternativeIds, TensorElementType.Int64, [count, alternatives], _alternativeIds.Pointer, sizeof(long));
            binding.BindOutput(DecodeGraph.AlternativeLogProbs, TensorElementType.Float, [count, alternatives], _alternativeLogProbs.Pointer, sizeof(float));
        }
    }

    /// <summary>Takes over the alternatives of a step, if it listed any.</summary>
    public void Store(int firstRow, int rowCount, int alternatives)
    {
        if (alternatives == 0) return;
        var listed = rowCount * alternatives;
        rows.StoreAlternatives(firstRow, rowCount, _alternativeIds.Slice(0, listed), _alternativeLogProbs.Slice(0, listed));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _alternativeIds.Dispose();
        _alternativeLogProbs.Dispose();
    }
}
