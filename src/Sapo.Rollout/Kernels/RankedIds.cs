using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Kernels;

/// <summary>
/// The order of ids by their scores: larger ones first, of equal ones the lower id. A rank is one number, the score's bits turned so that they sort,
/// above the id: ranks sort as integers, and no two are equal.
/// </summary>
internal static unsafe class RankedIds
{
    private const int Lanes = 16;

    /// <summary>Room that <see cref="First"/> needs for so many.</summary>
    public static int RoomFor(int count) => 2 * count + Lanes;

    /// <summary>The id of a rank.</summary>
    public static int IdOf(ulong rank) => (int)(uint)rank;

    /// <summary>Finds the first ranks; scores that are NaN have none. Reads the scores once and sorts only what may be among the first.</summary>
    /// <param name="scores">[size].</param>
    /// <param name="size">Number of ids.</param>
    /// <param name="count">How many are wanted, positive.</param>
    /// <param name="ranks">Filled in order; has <see cref="RoomFor"/> so many.</param>
    /// <returns>How many there are.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static int First(float* scores, int size, int count, ulong* ranks)
    {
        var (found, last, lowest) = (0, ulong.MaxValue, float.NegativeInfinity);
        for (var i = 0; i < size; i += Lanes)
        {
            var large = i + Lanes <= size ? Vector512.GreaterThanOrEqual(Vector512.Load(scores + i), Vector512.Create(lowest)).ExtractMostSignificantBits() : (1UL << (size - i)) - 1;
            for (; large != 0; large &= large - 1)
            {
                var id = i + BitOperations.TrailingZeroCount(large);
                var rank = RankOf(scores[id], id);
                if (rank < last && !float.IsNaN(scores[id])) ranks[found++] = rank;
            }
            if (found <= RoomFor(count) - Lanes) continue;
            new Span<ulong>(ranks, found).Sort();
            (found, last) = (count, ranks[count - 1]);
            lowest = scores[IdOf(last)];
        }
        new Span<ulong>(ranks, found).Sort();
        return Math.Min(found, count);
    }

    /// <summary>Finds all ranks.</summary>
    /// <param name="scores">[size], none of them NaN.</param>
    /// <param name="size">Number of ids.</param>
    /// <param name="ranks">[size], filled in order.</param>
    public static void All(float* scores, int size, ulong* ranks)
    {
        for (var id = 0; id < size; id++) ranks[id] = RankOf(scores[id], id);
        new Span<ulong>(ranks, size).Sort();
    }

    private static ulong RankOf(float score, int id)
    {
        var bits = BitConverter.SingleToUInt32Bits(score + 0f); // -0 becomes 0: they are equal
        var descending = (bits & 0x8000_0000) == 0 ? bits ^ 0x7fff_ffff : bits;
        return (ulong)descending << 32 | (uint)id;
    }
}
