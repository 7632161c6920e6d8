namespace Sapo.Rollout.Decoding;

/// <summary>
/// What goes into and comes out of a decode step, one element per row, in native memory that ONNX Runtime reads and
/// writes in place. Inputs belong to the scheduler, outputs are overwritten by every step.
/// </summary>
internal sealed class RowBuffers : IDisposable
{
    /// <summary>Most kept ids a step returns per row; a larger kept set is counted, not listed.</summary>
    public const int MaxKeptIds = 512;

    /// <summary>Buffers for a number of rows.</summary>
    /// <param name="rows">Number of rows.</param>
    /// <param name="vocabSize">Bounds the kept ids.</param>
    public RowBuffers(int rows, int vocabSize)
    {
        Rows = rows;
        KeptWidth = Math.Min(MaxKeptIds, vocabSize);
        (InputIds, SampledTokens, LastIndices) = (new(rows), new(rows), new(rows));
        (Lengths, TotalLength) = (new(rows), new(1));
        (Uniforms, Temperatures, TopPs, MinPs) = (new(rows), new(rows), new(rows), new(rows));
        (TopKs, ForcedTokens) = (new(rows), new(rows));
        Truncate = new(1);
        (SampledLogProbs, UntruncatedLogProbs) = (new(rows), new(rows));
        (KeptCounts, KeptIds) = (new(rows), new((long)rows * KeptWidth, clear: false));
        Temperatures.Span.Fill(1);
        TopPs.Span.Fill(1);
        ForcedTokens.Span.Fill(NoForcedToken);
    }

    /// <summary>The value of <see cref="ForcedTokens"/> that lets the graph sample.</summary>
    public const long NoForcedToken = -1;

    /// <summary>The value of <see cref="InputIds"/> in a row that is decoded along without a completion.</summary>
    public const long IdleRow = -1;

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Kept ids listed per row.</summary>
    public int KeptWidth { get; }

    /// <summary>In: the token to feed, or <see cref="IdleRow"/>.</summary>
    public NativeBuffer<long> InputIds { get; }

    /// <summary>In: the token's position, which is the sequence's length after this step minus 1 (GroupQueryAttention's seqlens_k).</summary>
    public NativeBuffer<int> Lengths { get; }

    /// <summary>In, one element: the longest sequence after this step; the session sets it.</summary>
    public NativeBuffer<int> TotalLength { get; }

    /// <summary>In: which of the new tokens is sampled from. A step feeds one token, so all are 0.</summary>
    public NativeBuffer<long> LastIndices { get; }

    /// <summary>In: a number in [0, 1) that decides the draw.</summary>
    public NativeBuffer<float> Uniforms { get; }

    /// <summary>In: temperature, 0 for the most likely token.</summary>
    public NativeBuffer<float> Temperatures { get; }

    /// <summary>In: top-k, 0 for all.</summary>
    public NativeBuffer<long> TopKs { get; }

    /// <summary>In: top-p, 1 for all.</summary>
    public NativeBuffer<float> TopPs { get; }

    /// <summary>In: min-p, 0 for all.</summary>
    public NativeBuffer<float> MinPs { get; }

    /// <summary>In: the token to take instead of a draw, or <see cref="NoForcedToken"/>.</summary>
    public NativeBuffer<long> ForcedTokens { get; }

    /// <summary>In, one element: whether truncation is computed at all; the session sets it.</summary>
    public NativeBuffer<bool> Truncate { get; }

    /// <summary>Out: the token drawn.</summary>
    public NativeBuffer<long> SampledTokens { get; }

    /// <summary>Out: its natural log-prob in the distribution drawn from.</summary>
    public NativeBuffer<float> SampledLogProbs { get; }

    /// <summary>Out: its natural log-prob at the temperature, before truncation.</summary>
    public NativeBuffer<float> UntruncatedLogProbs { get; }

    /// <summary>Out, when truncating: size of the kept set.</summary>
    public NativeBuffer<long> KeptCounts { get; }

    /// <summary>Out, when truncating: [rows, <see cref="KeptWidth"/>], the first min(count, width) of a row are its kept ids.</summary>
    public NativeBuffer<long> KeptIds { get; }

    /// <summary>Takes over the kept ids of a step.</summary>
    /// <param name="firstRow">First row of the step.</param>
    /// <param name="rowCount">Rows of the step.</param>
    /// <param name="ids">[rows, as many as the largest kept set]; what does not fit in <see cref="KeptWidth"/> is left out.</param>
    public void StoreKept(int firstRow, int rowCount, ReadOnlySpan<long> ids)
    {
        var width = ids.Length / rowCount;
        for (var i = 0; i < rowCount; i++)
            ids.Slice(i * width, Math.Min(width, KeptWidth)).CopyTo(KeptIds.Span[((firstRow + i) * KeptWidth)..]);
    }

    /// <summary>Copies the inputs of one row to another.</summary>
    public void CopyInputs(int from, int to)
    {
        Copy(InputIds, from, to);
        Copy(Lengths, from, to);
        Copy(Uniforms, from, to);
        Copy(Temperatures, from, to);
        Copy(TopKs, from, to);
        Copy(TopPs, from, to);
        Copy(MinPs, from, to);
        Copy(ForcedTokens, from, to);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var buffer in new IDisposable[]
        {
            InputIds, Lengths, TotalLength, LastIndices, Uniforms, Temperatures, TopKs, TopPs, MinPs, ForcedTokens, Truncate,
            SampledTokens, SampledLogProbs, UntruncatedLogProbs, KeptCounts, KeptIds,
        }) buffer.Dispose();
    }

    private static void Copy<T>(NativeBuffer<T> buffer, int from, int to)
        where T : unmanaged => buffer.Span[to] = buffer.Span[from];
}
