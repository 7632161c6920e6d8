// y = x · Wᵀ with W as a checkpoint stores it, [out, in]: nothing is reordered beforehand, so a version is at full speed
// the moment its file is mapped. What is reordered instead is x, which is small: 16 rows become the lanes of a vector.
//
//   x [rows, in] ──Pack──> panels [in][16 rows]                      16 neighbouring rows of x at one column: one vector
//   W rows n .. n+7 ──────> 8 scalars per column, broadcast ──FMA──> 8 x 16 sums per panel ──Store──> y [rows, out]
//
// Each weight is read once per 64 rows, in the order it lies in memory, while the next 8 rows are prefetched; one multiply-add
// serves 16 sequences. So a decode step runs at the speed of memory up to 16 rows and of the multipliers beyond.
// A sum runs over the columns in order, in blocks of 1024, whatever rows stand beside it: the result of a row does not depend
// on the batch it is in, to the last bit.
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Sapo.Rollout.Kernels;

/// <summary>The product of hidden states with a stored matrix, in fp32 on AVX-512 or AVX2.</summary>
internal static unsafe class LinearKernel
{
    /// <summary>Rows of the matrix that are computed together.</summary>
    public const int Strip = 8;

    /// <summary>Rows of x that a vector holds.</summary>
    public const int Lanes = 16;

    private const int PanelsAtOnce = 4;   // 64 rows of x: their panels stay in the second-level cache
    private const int ColumnsAtOnce = 1024; // with 8 rows of W: 32 KiB
    private const int LineFloats = 16;

    /// <summary>Whether this processor has the instructions.</summary>
    public static bool IsSupported => Vector512.IsHardwareAccelerated || (Avx2.IsSupported && Fma.IsSupported);

    /// <summary>Computes some columns of the product. Needs about 300 KiB of stack; allocates nothing.</summary>
    /// <param name="x">[rows, width].</param>
    /// <param name="rows">Rows of x, not negative.</param>
    /// <param name="weight">The matrix, [height, width].</param>
    /// <param name="height">Its rows: the columns of the result.</param>
    /// <param name="width">Its columns.</param>
    /// <param name="from">First column of the result to compute.</param>
    /// <param name="to">The column behind the last.</param>
    /// <param name="y">[rows, height].</param>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(float* x, long rows, float* weight, int height, int width, int from, int to, float* y)
    {
        var block = Math.Min(width, ColumnsAtOnce);
        var panelFloats = block * Lanes;
        var buffer = stackalloc float[PanelsAtOnce * panelFloats + Strip * 2 * Lanes + LineFloats];
        var sums = (float*)(((nuint)buffer + 63) & ~(nuint)63);
        var panels = sums + Strip * 2 * Lanes;
        for (var firstRow = 0L; firstRow < rows; firstRow += PanelsAtOnce * Lanes)
        {
            var taken = (int)Math.Min(PanelsAtOnce * Lanes, rows - firstRow);
            for (var column = 0; column < width; column += block)
            {
                var columns = Math.Min(block, width - column);
                for (var row = 0; row < taken; row += Lanes) Pack(x + (firstRow + row) * width + column, Math.Min(Lanes, taken - row), width, columns, panels + row / Lanes * panelFloats);
                for (var n = from; n < to; n += Strip)
                {
                    var height8 = Math.Min(Strip, to - n);
                    for (var row = 0; row < taken; row += 2 * Lanes)
                    {
                        var panel = panels + row / Lanes * panelFloats;
                        var two = taken - row > Lanes;
                        LinearTile.Compute(panel, two ? panel + panelFloats : null, weight + (nint)n * width + column, width, height8, columns, sums);
                        Store(sums, Math.Min(Lanes, taken - row), height8, y + (firstRow + row) * height + n, height, add: column > 0);
                        if (two) Store(sums + Strip * Lanes, Math.Min(Lanes, taken - row - Lanes), height8, y + (firstRow + row + Lanes) * height + n, height, add: column > 0);
                    }
                }
            }
        }
    }

    // [rows, columns] with rows a stride apart -> [columns][16]; lanes without a row are zero.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pack(float* x, int rows, int stride, int columns, float* panel)
    {
        if (rows < Lanes) new Span<float>(panel, columns * Lanes).Clear();
        for (var row = 0; row < rows; row += 4)
        {
            var column = 0;
            if (row + 4 <= rows)
            {
                for (; column + 4 <= columns; column += 4)
                {
                    var source = x + (nint)row * stride + column;
                    Transpose4(source, stride, out var c0, out var c1, out var c2, out var c3);
                    var target = panel + column * Lanes + row;
                    c0.Store(target);
                    c1.Store(target + Lanes);
                    c2.Store(target + 2 * Lanes);
                    c3.Store(target + 3 * Lanes);
                }
            }
            for (; column < columns; column++)
                for (var r = row; r < Math.Min(row + 4, rows); r++) panel[column * Lanes + r] = x[(nint)r * stride + column];
        }
    }

    // [8][16] sums -> [rows, 8] with rows a stride apart.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Store(float* sums, int rows, int height8, float* y, int stride, bool add)
    {
        var row = 0;
        if (height8 == Strip)
        {
            for (; row + 4 <= rows; row += 4)
            {
                for (var n = 0; n < Strip; n += 4)
                {
                    Transpose4(sums + n * Lanes + row, Lanes, out var r0, out var r1, out var r2, out var r3);
                    var target = y + (nint)row * stride + n;
                    if (add)
                    {
                        r0 += Vector128.Load(target);
                        r1 += Vector128.Load(target + stride);
                        r2 += Vector128.Load(target + 2 * (nint)stride);
                        r3 += Vector128.Load(target + 3 * (nint)stride);
                    }
                    r0.Store(target);
                    r1.Store(target + stride);
                    r2.Store(target + 2 * (nint)stride);
                    r3.Store(target + 3 * (nint)stride);
                }
            }
        }
        for (; row < rows; row++)
            for (var n = 0; n < height8; n++) y[(nint)row * stride + n] = sums[n * Lanes + row] + (add ? y[(nint)row * stride + n] : 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose4(float* source, nint stride, out Vector128<float> c0, out Vector128<float> c1, out Vector128<float> c2, out Vector128<float> c3)
    {
        Vector128<float> r0 = Vector128.Load(source), r1 = Vector128.Load(source + stride), r2 = Vector128.Load(source + 2 * stride), r3 = Vector128.Load(source + 3 * stride);
        Vector128<float> low01 = Sse.UnpackLow(r0, r1), high01 = Sse.UnpackHigh(r0, r1), low23 = Sse.UnpackLow(r2, r3), high23 = Sse.UnpackHigh(r2, r3);
        (c0, c1) = (Sse.MoveLowToHigh(low01, low23), Sse.MoveHighToLow(low23, low01));
        (c2, c3) = (Sse.MoveLowToHigh(high01, high23), Sse.MoveHighToLow(high23, high01));
    }
}
