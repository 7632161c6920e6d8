// One row's token from its logits, as Sapo.Sync.Graphs.SamplingHead writes it in standard operators for the other graphs:
//
//   logits ──history?──> scores with penalties (a copy) ──> ScoreDistribution: sums of blocks ──────────────> draw, log-prob
//                                                             ├──wanted?──> RankedIds ──> alternatives
//                                                             └──cut?─────> RankedIds ──RankCut──> the same, cut behind a rank
//
// A row is computed by itself: its token and its log-probs do not depend on its neighbours or on threads, to the last bit.
// The usual row, which asks for nothing in brackets, reads its logits twice, and a block of them a third time.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Sapo.Rollout.Kernels;

/// <summary>The inputs and outputs of a call, row after row; named and shaped as the decode graph's.</summary>
internal unsafe struct SamplingCall
{
    /// <summary>[rows, vocabulary].</summary>
    public float* Logits;

    /// <summary>In [0, 1).</summary>
    public float* Uniform;

    /// <summary>0 for greedy.</summary>
    public float* Temperature;

    /// <summary>Penalties: 1, 0 and 0 for none.</summary>
    public float* Repetition, Frequency, Presence;

    /// <summary>[rows, history width], ids within the vocabulary as far as a row's length goes.</summary>
    public long* History;

    /// <summary>[rows, history width]: how often the completion holds them.</summary>
    public float* HistoryCounts;

    /// <summary>0 for rows without penalties.</summary>
    public long* HistoryLength;

    /// <summary>0 for all.</summary>
    public long* TopK;

    /// <summary>1 for all.</summary>
    public float* TopP;

    /// <summary>0 for all.</summary>
    public float* MinP;

    /// <summary>Whether min-p comes before top-p.</summary>
    public bool* MinPFirst;

    /// <summary>Negative to draw.</summary>
    public long* Forced;

    /// <summary>Out: the token.</summary>
    public long* Token;

    /// <summary>Out: of the distribution drawn from; 0 for greedy rows.</summary>
    public float* LogProb;

    /// <summary>Out: before the cut.</summary>
    public float* UntruncatedLogProb;

    /// <summary>Out: how many ids the cut left.</summary>
    public long* KeptCount;

    /// <summary>Out, [rows, kept width]: the most likely of them, then -1.</summary>
    public long* KeptIds;

    /// <summary>Out, [rows, alternatives]: the most likely ids before the cut.</summary>
    public long* AlternativeIds;

    /// <summary>Out: their log-probs.</summary>
    public float* AlternativeLogProbs;

    /// <summary>Rows, ids, places of a row's history, kept ids listed, alternatives listed (at most <see cref="SamplingKernel.Candidates"/>).</summary>
    public int Rows, Vocabulary, HistoryWidth, KeptWidth, Alternatives;

    /// <summary>False: no row is cut.</summary>
    public bool Truncate;
}

/// <summary>Draws a token per row.</summary>
internal static unsafe class SamplingKernel
{
    /// <summary>Ids that are ranked before all are.</summary>
    public const int Candidates = 512;

    /// <summary>Draws one row's token. Allocates native memory only for penalties and for cuts beyond the candidates.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Draw(in SamplingCall call, int row)
    {
        var logits = call.Logits + (nint)row * call.Vocabulary;
        var penalised = call.HistoryLength[row] > 0 ? Penalised(call, row, logits) : null;
        Draw(call, row, penalised is null ? logits : penalised);
        NativeMemory.Free(penalised);
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Draw(in SamplingCall call, int row, float* scores)
    {
        var greedy = call.Temperature[row] == 0;
        var whole = new ScoreDistribution(scores, call.Vocabulary, greedy ? 1 : call.Temperature[row]);
        var sums = stackalloc double[whole.Blocks];
        var total = whole.Add(sums);
        if (call.Alternatives > 0) ListAlternatives(call, row, scores, whole, total);

        var (cut, cutTotal, kept) = (whole, total, call.Vocabulary);
        new Span<long>(call.KeptIds + (nint)row * call.KeptWidth, call.KeptWidth).Fill(-1);
        var options = new RankCut(call.TopK[row], call.TopP[row], call.MinP[row], call.MinPFirst[row]);
        if (call.Truncate && options.Cuts && !greedy && !double.IsNaN(total))
        {
            kept = Cut(call, row, options, scores, ref cut, total);
            cutTotal = cut.Add(sums);
        }

        var token = call.Forced[row] >= 0 ? (int)call.Forced[row] : greedy ? whole.Likeliest() : cut.Draw(call.Uniform[row], sums, cutTotal);
        var untruncated = whole.LogProb(token, total);
        call.Token[row] = token;
        call.LogProb[row] = greedy ? untruncated - untruncated : cut.LogProb(token, cutTotal); // 0, or NaN where the logits are
        call.UntruncatedLogProb[row] = untruncated;
        call.KeptCount[row] = kept;
    }

    // Once per id that was there, always from its logit: an id that stands at several places gets the same score several times.
    private static float* Penalised(in SamplingCall call, int row, float* logits)
    {
        var scores = (float*)NativeMemory.Alloc((nuint)call.Vocabulary, sizeof(float));
        new Span<float>(logits, call.Vocabulary).CopyTo(new Span<float>(scores, call.Vocabulary));
        var first = (nint)row * call.HistoryWidth;
        for (var i = first; i < first + (nint)call.HistoryLength[row]; i++)
        {
            var (id, count) = (call.History[i], call.HistoryCounts[i]);
            var repeated = logits[id] < 0 ? logits[id] * call.Repetition[row] : logits[id] / call.Repetition[row];
            scores[id] = repeated - call.Frequency[row] * count - (count > 0 ? call.Presence[row] : 0);
        }
        return scores;
    }

    [SkipLocalsInit]
    private static void ListAlternatives(in SamplingCall call, int row, float* scores, in ScoreDistribution whole, double total)
    {
        var ranks = stackalloc ulong[RankedIds.RoomFor(call.Alternatives)];
        var found = RankedIds.First(scores, call.Vocabulary, call.Alternatives, ranks);
        for (var i = 0; i < call.Alternatives; i++)
        {
            var place = (nint)row * call.Alternatives + i;
            var id = i < found ? RankedIds.IdOf(ranks[i]) : -1; // fewer only where scores are NaN
            (call.AlternativeIds[place], call.AlternativeLogProbs[place]) = (id, id < 0 ? float.NaN : whole.LogProb(id, total));
        }
    }

    [SkipLocalsInit]
    private static int Cut(in SamplingCall call, int row, in RankCut options, float* scores, ref ScoreDistribution distribution, double total)
    {
        var ranks = stackalloc ulong[RankedIds.RoomFor(Candidates)];
        var kept = options.Keep(distribution, total, ranks, RankedIds.First(scores, call.Vocabulary, Candidates, ranks));
        ulong* all = null;
        if (kept == 0)
        {
            ranks = all = (ulong*)NativeMemory.Alloc((nuint)call.Vocabulary, sizeof(ulong));
            RankedIds.All(scores, call.Vocabulary, ranks);
            kept = options.Keep(distribution, total, ranks, call.Vocabulary);
        }
        distribution.CutBehind(RankedIds.IdOf(ranks[kept - 1]));
        for (var i = 0; i < Math.Min(kept, call.KeptWidth); i++) call.KeptIds[(nint)row * call.KeptWidth + i] = RankedIds.IdOf(ranks[i]);
        NativeMemory.Free(all);
        return kept;
    }
}
