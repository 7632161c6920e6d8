using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Sapo.Rollout.Kernels;

/// <summary>
/// The innermost loops of <see cref="LinearKernel"/>: sums over columns for up to 8 rows of a matrix and one or two panels of 16 lanes.
/// Every path adds the same products in the same order with fused multiply-adds, so all give the same bits.
/// </summary>
internal static unsafe class LinearTile
{
    private const int Lanes = 16, Strip = 8, LineFloats = 16;

    /// <summary>Fills sums [panels][8][16].</summary>
    /// <param name="first">A panel, [columns][16].</param>
    /// <param name="second">Another, or null.</param>
    /// <param name="weight">The first row of the matrix that is read.</param>
    /// <param name="stride">From one row to the next.</param>
    /// <param name="rows">Rows of the matrix, 1 to 8.</param>
    /// <param name="columns">Length of the sums.</param>
    /// <param name="sums">The result.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compute(float* first, float* second, float* weight, nint stride, int rows, int columns, float* sums)
    {
        if (rows < Strip)
        {
            for (var row = 0; row < rows; row++)
            {
                Row(first, weight + row * stride, columns, sums + row * Lanes);
                if (second is not null) Row(second, weight + row * stride, columns, sums + (Strip + row) * Lanes);
            }
        }
        else if (!Vector512.IsHardwareAccelerated)
        {
            for (var row = 0; row < Strip; row += 4)
            {
                Four(first, weight + row * stride, stride, columns, sums + row * Lanes);
                if (second is not null) Four(second, weight + row * stride, stride, columns, sums + (Strip + row) * Lanes);
            }
        }
        else if (second is null)
        {
            Eight(first, weight, stride, columns, sums);
        }
        else
        {
            EightTwice(first, second, weight, stride, columns, sums);
        }
    }

    // 8 rows x 16 lanes. Memory is what this one waits for, so the 8 rows behind these are fetched a cache line per row and 16 columns.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Eight(float* panel, float* weight, nint stride, int columns, float* sums)
    {
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        nint one = stride * sizeof(float), three = 3 * one, five = 5 * one, seven = 7 * one;
        var p = (byte*)weight;
        var end = (byte*)(weight + columns);
        while (p < end)
        {
            Prefetch(p + 8 * one, one, three, five, seven);
            for (var line = (byte*)Math.Min((nuint)(p + LineFloats * sizeof(float)), (nuint)end); p < line; p += sizeof(float), panel += Lanes)
            {
                var x = Vector512.Load(panel);
                s0 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)p), s0);
                s1 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + one)), s1);
                s2 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + 2 * one)), s2);
                s3 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + three)), s3);
                s4 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + 4 * one)), s4);
                s5 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + five)), s5);
                s6 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + 2 * three)), s6);
                s7 = Vector512.FusedMultiplyAdd(x, Vector512.Create(*(float*)(p + seven)), s7);
            }
        }
        Store(sums, s0, s1, s2, s3, s4, s5, s6, s7);
    }

    // The same for two panels: each weight that was loaded serves 32 lanes.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightTwice(float* first, float* second, float* weight, nint stride, int columns, float* sums)
    {
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        Vector512<float> t0 = default, t1 = default, t2 = default, t3 = default, t4 = default, t5 = default, t6 = default, t7 = default;
        nint one = stride * sizeof(float), three = 3 * one, five = 5 * one, seven = 7 * one;
        var p = (byte*)weight;
        var end = (byte*)(weight + columns);
        while (p < end)
        {
            Prefetch(p + 8 * one, one, three, five, seven);
            for (var line = (byte*)Math.Min((nuint)(p + LineFloats * sizeof(float)), (nuint)end); p < line; p += sizeof(float), first += Lanes, second += Lanes)
            {
                Vector512<float> x = Vector512.Load(first), y = Vector512.Load(second);
                var w = Vector512.Create(*(float*)p);
                (s0, t0) = (Vector512.FusedMultiplyAdd(x, w, s0), Vector512.FusedMultiplyAdd(y, w, t0));
                w = Vector512.Create(*(float*)(p + one));
                (s1, t1) = (Vector512.FusedMultiplyAdd(x, w, s1), Vector512.FusedMultiplyAdd(y, w, t1));
                w = Vector512.Create(*(float*)(p + 2 * one));
                (s2, t2) = (Vector512.FusedMultiplyAdd(x, w, s2), Vector512.FusedMultiplyAdd(y, w, t2));
                w = Vector512.Create(*(float*)(p + three));
                (s3, t3) = (Vector512.FusedMultiplyAdd(x, w, s3), Vector512.FusedMultiplyAdd(y, w, t3));
                w = Vector512.Create(*(float*)(p + 4 * one));
                (s4, t4) = (Vector512.FusedMultiplyAdd(x, w, s4), Vector512.FusedMultiplyAdd(y, w, t4));
                w = Vector512.Create(*(float*)(p + five));
                (s5, t5) = (Vector512.FusedMultiplyAdd(x, w, s5), Vector512.FusedMultiplyAdd(y, w, t5));
                w = Vector512.Create(*(float*)(p + 2 * three));
                (s6, t6) = (Vector512.FusedMultiplyAdd(x, w, s6), Vector512.FusedMultiplyAdd(y, w, t6));
                w = Vector512.Create(*(float*)(p + seven));
                (s7, t7) = (Vector512.FusedMultiplyAdd(x, w, s7), Vector512.FusedMultiplyAdd(y, w, t7));
            }
        }
        Store(sums, s0, s1, s2, s3, s4, s5, s6, s7);
        Store(sums + Strip * Lanes, t0, t1, t2, t3, t4, t5, t6, t7);
    }

    // AVX2 has 16 registers: 4 rows x 16 lanes.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Four(float* panel, float* weight, nint stride, int columns, float* sums)
    {
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default, t0 = default, t1 = default, t2 = default, t3 = default;
        for (var end = weight + columns; weight < end; weight++, panel += Lanes)
        {
            Vector256<float> x = Vector256.Load(panel), y = Vector256.Load(panel + 8);
            var w = Vector256.Create(*weight);
            (s0, t0) = (Vector256.FusedMultiplyAdd(x, w, s0), Vector256.FusedMultiplyAdd(y, w, t0));
            w = Vector256.Create(weight[stride]);
            (s1, t1) = (Vector256.FusedMultiplyAdd(x, w, s1), Vector256.FusedMultiplyAdd(y, w, t1));
            w = Vector256.Create(weight[2 * stride]);
            (s2, t2) = (Vector256.FusedMultiplyAdd(x, w, s2), Vector256.FusedMultiplyAdd(y, w, t2));
            w = Vector256.Create(weight[3 * stride]);
            (s3, t3) = (Vector256.FusedMultiplyAdd(x, w, s3), Vector256.FusedMultiplyAdd(y, w, t3));
        }
        s0.Store(sums);
        t0.Store(sums + 8);
        s1.Store(sums + Lanes);
        t1.Store(sums + Lanes + 8);
        s2.Store(sums + 2 * Lanes);
        t2.Store(sums + 2 * Lanes + 8);
        s3.Store(sums + 3 * Lanes);
        t3.Store(sums + 3 * Lanes + 8);
    }

    // One row, for the few that are left over where a matrix has no multiple of 8.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Row(float* panel, float* weight, int columns, float* sums)
    {
        Vector256<float> s = default, t = default;
        for (var end = weight + columns; weight < end; weight++, panel += Lanes)
        {
            var w = Vector256.Create(*weight);
            s = Vector256.FusedMultiplyAdd(Vector256.Load(panel), w, s);
            t = Vector256.FusedMultiplyAdd(Vector256.Load(panel + 8), w, t);
        }
        s.Store(sums);
        t.Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* p, nint one, nint three, nint five, nint seven)
    {
        Sse.Prefetch1(p);
        Sse.Prefetch1(p + one);
        Sse.Prefetch1(p + 2 * one);
        Sse.Prefetch1(p + three);
        Sse.Prefetch1(p + 4 * one);
        Sse.Prefetch1(p + five);
        Sse.Prefetch1(p + 2 * three);
        Sse.Prefetch1(p + seven);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(
        float* sums, Vector512<float> s0, Vector512<float> s1, Vector512<float> s2, Vector512<float> s3, Vector512<float> s4, Vector512<float> s5, Vector512<float> s6, Vector512<float> s7)
    {
        s0.Store(sums);
        s1.Store(sums + Lanes);
        s2.Store(sums + 2 * Lanes);
        s3.Store(sums + 3 * Lanes);
        s4.Store(sums + 4 * Lanes);
        s5.Store(sums + 5 * Lanes);
        s6.Store(sums + 6 * Lanes);
        s7.Store(sums + 7 * Lanes);
    }
}
