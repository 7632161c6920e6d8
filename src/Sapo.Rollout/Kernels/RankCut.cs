using System.Runtime.CompilerServices;

namespace Sapo.Rollout.Kernels;

/// <summary>
/// Top-k, then top-p, then min-p, or min-p before top-p, as <c>Sapo.Sync.Graphs.Truncation</c> writes them for graphs without our kernels: each keeps
/// the first so many ranks, so the least of three counts decides. Where the most likely ids alone do not show the cut, all are ranked.
/// </summary>
/// <param name="topK">0 keeps all; ties with the k-th stay.</param>
/// <param name="topP">1 keeps all; the id that crosses it stays.</param>
/// <param name="minP">0 keeps all.</param>
/// <param name="minPFirst">Whether top-p takes its share of what min-p left.</param>
internal readonly unsafe struct RankCut(long topK, float topP, float minP, bool minPFirst)
{
    /// <summary>Whether anything is asked for.</summary>
    public bool Cuts => topK > 0 || topP < 1 || minP > 0;

    /// <summary>How many of the first ranks are kept, at least 1; 0 where more ranks are needed to say it.</summary>
    /// <param name="distribution">Before the cut.</param>
    /// <param name="total">Its sum.</param>
    /// <param name="ranks">The first ranks.</param>
    /// <param name="count">How many.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Keep(in ScoreDistribution distribution, double total, ulong* ranks, int count)
    {
        var byCount = CountByTopK(distribution, ranks, count);
        var byRatio = CountByMinP(distribution, ranks, count);
        bool cutsByCount = topK > 0 && topK < distribution.Size, ratioFirst = minPFirst && minP > 0;
        var isAll = count == distribution.Size;
        if (!isAll && ((cutsByCount && byCount == count) || (ratioFirst && byRatio == count))) return 0;
        var kept = Math.Min(byCount, byRatio);
        if (topP < 1)
        {
            if (cutsByCount || ratioFirst) total = Sum(distribution, ranks, ratioFirst ? kept : byCount);
            kept = Math.Min(kept, CountByTopP(distribution, topP * total, ranks, count));
        }
        return isAll || kept < count ? Math.Max(1, kept) : 0;
    }

    private int CountByTopK(in ScoreDistribution distribution, ulong* ranks, int count)
    {
        if (topK <= 0 || topK >= count) return count;
        var lowest = distribution.Score(RankedIds.IdOf(ranks[topK - 1]));
        var kept = (int)topK;
        while (kept < count && distribution.Score(RankedIds.IdOf(ranks[kept])) == lowest) kept++;
        return kept;
    }

    // Impossible ids are not kept, whatever is asked for.
    private int CountByMinP(in ScoreDistribution distribution, ulong* ranks, int count)
    {
        var kept = 0;
        for (; kept < count; kept++)
        {
            var id = RankedIds.IdOf(ranks[kept]);
            if (float.IsNegativeInfinity(distribution.Score(id)) || (minP > 0 && distribution.Ratio(id) < minP)) break;
        }
        return kept;
    }

    private static int CountByTopP(in ScoreDistribution distribution, double share, ulong* ranks, int count)
    {
        var kept = 0;
        for (var before = 0.0; kept < count && (before < share || kept == 0); kept++) before += distribution.Ratio(RankedIds.IdOf(ranks[kept]));
        return kept;
    }

    private static double Sum(in ScoreDistribution distribution, ulong* ranks, int count)
    {
        var sum = 0.0;
        for (var i = 0; i < count; i++) sum += distribution.Ratio(RankedIds.IdOf(ranks[i]));
        return sum;
    }
}
