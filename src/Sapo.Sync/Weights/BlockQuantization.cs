using System.Numerics;
using System.Runtime.InteropServices;
using Sapo.Core.Models;

namespace Sapo.Sync.Weights;

/// <summary>
/// Rounds rows of weights to integers of 8 or 4 bits, one scale per <see cref="ReducedLayout.BlockSize"/> weights: the form that
/// com.microsoft.MatMulNBits reads without zero points. The weight of the largest magnitude becomes the integer 0, which stands
/// for -128 or -8 scales, so that it is exact and no integer is left unused; the others are rounded to the nearest.
/// </summary>
internal static class BlockQuantization
{
    private const int BlockSize = ReducedLayout.BlockSize;

    /// <summary>Rounds one row.</summary>
    /// <param name="row">Finite weights; a last block that is not full is filled with zeros.</param>
    /// <param name="bits">8 or 4.</param>
    /// <param name="integers">Out: BlockSize * bits / 8 bytes per block.</param>
    /// <param name="scales">Out: one per block; 0 where all its weights are 0.</param>
    public static void Quantize(ReadOnlySpan<float> row, int bits, Span<byte> integers, Span<float> scales)
    {
        Span<float> block = stackalloc float[BlockSize];
        Span<int> rounded = stackalloc int[BlockSize];
        var bytes = BlockSize * bits / 8;
        var middle = 1 << (bits - 1);
        for (var i = 0; i < scales.Length; i++)
        {
            var weights = row.Slice(i * BlockSize, Math.Min(BlockSize, row.Length - i * BlockSize));
            block[weights.Length..].Clear();
            weights.CopyTo(block);
            var scale = Extreme(block) / -middle;
            scales[i] = scale;
            Round(block, scale == 0 ? 0 : 1 / scale, middle, rounded);
            Pack(rounded, bits, integers.Slice(i * bytes, bytes));
        }
    }

    /// <summary>The weight of the largest magnitude, with its sign.</summary>
    private static float Extreme(ReadOnlySpan<float> block)
    {
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(block);
        var (high, low) = (vectors[0], vectors[0]);
        foreach (var vector in vectors) (high, low) = (Vector.Max(high, vector), Vector.Min(low, vector));
        float largest = high[0], smallest = low[0];
        for (var i = 1; i < Vector<float>.Count; i++) (largest, smallest) = (Math.Max(largest, high[i]), Math.Min(smallest, low[i]));
        return largest > -smallest ? largest : smallest;
    }

    private static void Round(ReadOnlySpan<float> block, float perScale, int middle, Span<int> rounded)
    {
        var factor = new Vector<float>(perScale);
        var shift = new Vector<float>(middle + 0.5f); // truncation of a positive number after adding a half is rounding
        var limit = new Vector<int>(2 * middle - 1);
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(block);
        var results = MemoryMarshal.Cast<int, Vector<int>>(rounded);
        for (var i = 0; i < vectors.Length; i++) results[i] = Vector.Min(Vector.ConvertToInt32(vectors[i] * factor + shift), limit);
    }

    private static void Pack(ReadOnlySpan<int> rounded, int bits, Span<byte> bytes)
    {
        if (bits == 8)
            for (var i = 0; i < bytes.Length; i++) bytes[i] = (byte)rounded[i];
        else
            for (var i = 0; i < bytes.Length; i++) bytes[i] = (byte)(rounded[2 * i] | (rounded[2 * i + 1] << 4));
    }
}
