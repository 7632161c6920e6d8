// y = x · Wᵀ with W as a checkpoint stores it, [out, in]: nothing is reordered beforehand, so a version is at full speed
// the moment its file is mapped. What is reordered instead is x, which is small: 16 rows become the lanes of a vector.
//
//   x [rows, in] ──Pack, once──> panels [in][16 rows]                16 neighbouring rows of x at one column: one vector
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

    /// <summary>Floats that the panels of some rows take.</summary>
    public static nint PanelFloats(long rows, int width) => (nint)((rows + Lanes - 1) / Lanes * Lanes) * width;

    /// <summary>Reorders rows into panels of 16: [rows, width] -> [rows / 16][width][16]. Lanes without a row are zero.</summary>
    /// <param name="x">[rows, width].</param>
    /// <param name="rows">Rows of x, not negative.</param>
    /// <param name="width">Columns of x.</param>
    /// <param name="panels">As many as <see cref="PanelFloats"/> says.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(float* x, long rows, int width, float* panels)
    {
        for (var first = 0L; first < rows; first += Lanes) PackPanel(x + (nint)first * width, (int)Math.Min(Lanes, rows - first), width, panels + (nint)first * width);
    }

    /// <summary>Computes some columns of the product. Allocates nothing.</summary>
    /// <param name="panels">x, packed.</param>
    /// <param name="rows">Rows of x.</param>
    /// <param name="weight">The matrix, [height, width].</param>
    /// <param name="height">Its rows: the columns of the result.</param>
    /// <param name="width">Its columns.</param>
    /// <param name="from">First column of the result to compute.</param>
    /// <param name="to">The column behind the last.</param>
    /// <param name="y">[rows, height].</param>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(float* panels, long rows, float* weight, int height, int width, int from, int to, float* y)
    {
        var buffer = stackalloc float[Strip * 2 * Lanes + LineFloats];
        var sums = (float*)(((nuint)buffer + 63) & ~(nuint)63);
        var panelFloats = (nint)width * Lanes;
        for (var firstRow = 0L; firstRow < rows; firstRow += PanelsAtOnce * Lanes)
        {
            var taken = (int)Math.Min(PanelsAtOnce * Lanes, rows - firstRow);
            for (var column = 0; column < width; column += ColumnsAtOnce)
            {
                var columns = Math.Min(ColumnsAtOnce, width - column);
                for (var n = from; n < to; n += Strip)
                {
                    var height8 = Math.Min(Strip, to - n);
                    for (var row = 0; row < taken; row += 2 * Lanes)
                    {
                        var panel = panels + (nint)(firstRow + row) * width + (nint)column * Lanes;
                        var two = taken - row > Lanes;
                        LinearTile.Compute(panel, two ? panel + panelFloats : null, weight + (nint)n * width + column, width, height8, columns, sums);
                        Store(sums, Math.Min(Lanes, taken - row), height8, y + (firstRow + row) * height + n, height, add: column > 0);
                        if (two) Store(sums + Strip * Lanes, Math.Min(Lanes, taken - row - Lanes), height8, y + (firstRow + row + Lanes) * height + n, height, add: column > 0);
                    }
                }
            }
        }
    }

    // [rows, width] -> [width][16], a cache line of four rows at a time: rows are often a power of two apart, and 16 of their lines push each other out of the cache.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackPanel(float* x, int rows, int width, float* panel)
    {
        if (rows < Lanes) new Span<float>(panel, width * Lanes).Clear();
        int fours = rows / 4 * 4, columns = width / 4 * 4;
        for (var first = 0; first < columns; first += LineFloats)
        {
            for (var row = 0; row < fours; row += 4)
            {
                for (var column = first; column < Math.Min(first + LineFloats, columns); column += 4)
                {
                    Transpose4(x + (nint)row * width + column, width, out var c0, out var c1, out var c2, out var c3);
                    var target = panel + (nint)column * Lanes + row;
                    c0.Store(target);
                    c1.Store(target + Lanes);
                    c2.Store(target + 2 * Lanes);
                    c3.Store(target + 3 * Lanes);
                }
            }
        }
        for (var row = 0; row < rows; row++)
            for (var c = row < fours ? columns : 0; c < width; c++) panel[(nint)c * Lanes + row] = x[(nint)row * width + c];
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
