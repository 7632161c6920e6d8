namespace Sapo.Rollout.Decoding;

/// <summary>
/// What goes into and comes out of a decode step, one element per row, in native memory that ONNX Runtime reads and
/// writes in place. Inputs belong to the scheduler, outputs are overwritten by every step.
/// </summary>
internal sealed class RowBuffers : IDisposable
{
    private const int Alternatives = GenerationRequest.MaxAlternatives;

    /// <summary>Buffers for a number of rows.</summary>
    /// <param name="rows">Number of rows.</param>
    /// <param name="vocabSize">Bounds the kept ids.</param>
    /// <param name="positions">Longest sequence of a row with penalties.</param>
    /// <param name="maxKeptIds">Most kept ids a step lists per row; a larger kept set is counted, not listed.</param>
    public RowBuffers(int rows, int vocabSize, int positions = 1, int maxKeptIds = 512)
    {
        Rows = rows;
        KeptWidth = Math.Min(maxKeptIds, vocabSize);
        HistoryWidth = positions;
        (RepetitionPenalties, FrequencyPenalties, PresencePenalties) = (new(rows), new(rows), new(rows));
        (History, HistoryCounts, HistoryLengths) = (new((long)rows * positions, clear: false), new((long)rows * positions, clear: false), new(rows));
        (MinPFirst, KeptLimits, WantedAlternatives) = (new(rows), new(rows), new(rows));
        (AlternativeIds, AlternativeLogProbs) = (new((long)rows * Alternatives, clear: false), new((long)rows * Alternatives, clear: false));
        RepetitionPenalties.Span.Fill(1);
        KeptLimits.Span.Fill(KeptWidth);
        for (var row = 0; row < rows; row++) (HistoryOf(row)[0], CountsOf(row)[0]) = (0, 0); // read even in rows without one
        (InputIds, SampledTokens, LastIndices) = (new(rows), new(rows), new(rows));
        (Lengths, TotalLength, SharedWith, SharedLengths) = (new(rows), new(1), new(rows), new(rows));
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

    /// <summary>Tokens a row's history has room for.</summary>
    public int HistoryWidth { get; }

    /// <summary>Kept ids listed per row.</summary>
    public int KeptWidth { get; }

    /// <summary>In: the token to feed, or <see cref="IdleRow"/>.</summary>
    public NativeBuffer<long> InputIds { get; }

    /// <summary>In: the token's position, which is the sequence's length after this step minus 1 (GroupQueryAttention's seqlens_k).</summary>
    public NativeBuffer<int> Lengths { get; }

    /// <summary>In, one element: the longest sequence after this step; the session sets it.</summary>
    public NativeBuffer<int> TotalLength { get; }

    /// <summary>In: how many rows further on stands one of the step that holds the same keys and values at its first positions; 0 for none.</summary>
    public NativeBuffer<int> SharedWith { get; }

    /// <summary>In: how many positions those are; they were computed before the step.</summary>
    public NativeBuffer<int> SharedLengths { get; }

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

    /// <summary>In: whether min-p comes before top-k and top-p.</summary>
    public NativeBuffer<bool> MinPFirst { get; }

    /// <summary>In: <see cref="KeptWidth"/>, in every row.</summary>
    public NativeBuffer<long> KeptLimits { get; }

    /// <summary>In: repetition penalty, 1 for none.</summary>
    public NativeBuffer<float> RepetitionPenalties { get; }

    /// <summary>In: frequency penalty, 0 for none.</summary>
    public NativeBuffer<float> FrequencyPenalties { get; }

    /// <summary>In: presence penalty, 0 for none.</summary>
    public NativeBuffer<float> PresencePenalties { get; }

    /// <summary>In: [rows, <see cref="HistoryWidth"/>], prompt and completion so far of rows with penalties.</summary>
    public NativeBuffer<long> History { get; }

    /// <summary>In: tokens of the history, 0 in rows without penalties.</summary>
    public NativeBuffer<long> HistoryLengths { get; }

    /// <summary>In: [rows, <see cref="HistoryWidth"/>], how often the completion holds the token of the same place of the history.</summary>
    public NativeBuffer<float> HistoryCounts { get; }

    /// <summary>In: how many of the most likely tokens are wanted.</summary>
    public NativeBuffer<long> WantedAlternatives { get; }

    /// <summary>In: the token to take instead of a draw, or <see cref="NoForcedToken"/>.</summary>
    public NativeBuffer<long> ForcedTokens { get; }

    /// <summary>In, one element: whether truncation is computed at all; the session sets it.</summary>
    public NativeBuffer<bool> Truncate { get; }

    /// <summary>Out: the token drawn.</summary>
    public NativeBuffer<long> SampledTokens { get; }

    /// <summary>Out: its natural log-prob in the distribution drawn from.</summary>
    public NativeBuffer<float> SampledLogProbs { get; }

    /// <summary>Out: its natural log-prob after penalties and temperature, before truncation.</summary>
    public NativeBuffer<float> UntruncatedLogProbs { get; }

    /// <summary>Out, when truncating: size of the kept set.</summary>
    public NativeBuffer<long> KeptCounts { get; }

    /// <summary>Out, when truncating: [rows, <see cref="KeptWidth"/>], the first min(count, width) of a row are its kept ids.</summary>
    public NativeBuffer<long> KeptIds { get; }

    /// <summary>Out, where wanted: [rows, <see cref="GenerationRequest.MaxAlternatives"/>], the first of a row are its most likely tokens.</summary>
    public NativeBuffer<long> AlternativeIds { get; }

    /// <summary>Out: their natural log-probs.</summary>
    public NativeBuffer<float> AlternativeLogProbs { get; }

    /// <summary>Says how a row's tokens are drawn from now on.</summary>
    /// <param name="row">The row.</param>
    /// <param name="sampling">How.</param>
    /// <param name="prompt">What penalties look back at first.</param>
    /// <param name="alternatives">Most likely tokens wanted.</param>
    public void SetDraw(int row, SamplingOptions sampling, ReadOnlySpan<int> prompt, int alternatives)
    {
        var cuts = sampling.Truncates;
        Temperatures.Span[row] = (float)sampling.Temperature;
        TopKs.Span[row] = cuts ? sampling.TopK : 0;
        TopPs.Span[row] = cuts ? (float)sampling.TopP : 1;
        MinPs.Span[row] = cuts ? (float)sampling.MinP : 0;
        MinPFirst.Span[row] = sampling.MinPFirst;
        ForcedTokens.Span[row] = NoForcedToken;
        WantedAlternatives.Span[row] = alternatives;
        RepetitionPenalties.Span[row] = (float)sampling.RepetitionPenalty;
        FrequencyPenalties.Span[row] = (float)sampling.FrequencyPenalty;
        PresencePenalties.Span[row] = (float)sampling.PresencePenalty;
        HistoryLengths.Span[row] = sampling.Penalises ? prompt.Length : 0;
        if (!sampling.Penalises) return;
        var history = HistoryOf(row);
        for (var i = 0; i < prompt.Length; i++) history[i] = prompt[i];
        CountsOf(row)[..prompt.Length].Clear();
    }

    /// <summary>Puts in what a row's next step needs.</summary>
    /// <param name="row">The row.</param>
    /// <param name="token">The token to feed.</param>
    /// <param name="position">Its position.</param>
    /// <param name="uniform">The number that decides the draw.</param>
    public void Feed(int row, int token, int position, float uniform)
    {
        (InputIds.Span[row], Lengths.Span[row], Uniforms.Span[row]) = (token, position, uniform);
        if (HistoryLengths.Span[row] is not 0 and var length && position >= length) Remember(row, token, position);
    }

    /// <summary>Takes over the most likely tokens of a step.</summary>
    /// <param name="firstRow">First row of the step.</param>
    /// <param name="rowCount">Rows of the step.</param>
    /// <param name="ids">[rows, as many as the row that wants most].</param>
    /// <param name="logProbs">Likewise.</param>
    public void StoreAlternatives(int firstRow, int rowCount, ReadOnlySpan<long> ids, ReadOnlySpan<float> logProbs)
    {
        var width = ids.Length / rowCount;
        for (var i = 0; i < rowCount; i++)
        {
            ids.Slice(i * width, width).CopyTo(AlternativeIds.Slice((long)(firstRow + i) * Alternatives, width));
            logProbs.Slice(i * width, width).CopyTo(AlternativeLogProbs.Slice((long)(firstRow + i) * Alternatives, width));
        }
    }

    /// <summary>A row's most likely tokens of the last step, as many as it wanted.</summary>
    public ReadOnlySpan<long> AlternativeIdsOf(int row) => AlternativeIds.Slice((long)row * Alternatives, (int)WantedAlternatives.Span[row]);

    /// <summary>Their natural log-probs.</summary>
    public ReadOnlySpan<float> AlternativeLogProbsOf(int row) => AlternativeLogProbs.Slice((long)row * Alternatives, (int)WantedAlternatives.Span[row]);

    /// <summary>The listed kept ids of a row's last step.</summary>
    public ReadOnlySpan<long> KeptIdsOf(int row) => KeptIds.Slice((long)row * KeptWidth, (int)Math.Min(KeptWidth, KeptCounts.Span[row]));

    /// <summary>How many alternatives the row of a step wants that wants most.</summary>
    public int MostAlternatives(int firstRow, int rowCount)
    {
        long most = 0;
        foreach (var wanted in WantedAlternatives.Span.Slice(firstRow, rowCount)) most = Math.Max(most, wanted);
        return (int)most;
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
        Copy(MinPFirst, from, to);
        Copy(RepetitionPenalties, from, to);
        Copy(FrequencyPenalties, from, to);
        Copy(PresencePenalties, from, to);
        Copy(HistoryLengths, from, to);
        var length = Math.Max(1, (int)HistoryLengths.Span[from]);
        HistoryOf(from)[..length].CopyTo(HistoryOf(to));
        CountsOf(from)[..length].CopyTo(CountsOf(to));
        Copy(WantedAlternatives, from, to);
        Copy(ForcedTokens, from, to);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var buffer in new IDisposable[]
        {
            InputIds, Lengths, TotalLength, LastIndices, Uniforms, Temperatures, TopKs, TopPs, MinPs, ForcedTokens, Truncate,
            MinPFirst, KeptLimits, RepetitionPenalties, FrequencyPenalties, PresencePenalties, History, HistoryCounts, HistoryLengths, WantedAlternatives,
            SampledTokens, SampledLogProbs, UntruncatedLogProbs, KeptCounts, KeptIds, AlternativeIds, AlternativeLogProbs,
        }) buffer.Dispose();
    }

    private Span<long> HistoryOf(int row) => History.Slice((long)row * HistoryWidth, HistoryWidth);

    private Span<float> CountsOf(int row) => HistoryCounts.Slice((long)row * HistoryWidth, HistoryWidth);

    // A token of the completion joins the history, and every place that holds it counts once more.
    private void Remember(int row, int token, int position)
    {
        Span<long> history = HistoryOf(row)[..(position + 1)];
        Span<float> counts = CountsOf(row);
        history[position] = token;
        HistoryLengths.Span[row] = position + 1;
        var first = history.IndexOf(token);
        var count = 1 + (first < position ? counts[first] : 0);
        for (int at = first, found = 0; found >= 0; at += found + 1)
        {
            counts[at] = count;
            found = history[(at + 1)..].IndexOf(token);
        }
    }

    private static void Copy<T>(NativeBuffer<T> buffer, int from, int to)
        where T : unmanaged => buffer.Span[to] = buffer.Span[from];
}
