using System.Numerics;
using System.Runtime.InteropServices;

namespace Sapo.Core.Models;

/// <summary>Widens stored weights to 32-bit floats and narrows them again.</summary>
public static class WeightConversion
{
    /// <summary>Widens F32, F16 or BF16 bytes; exact.</summary>
    public static void ToSingle(ReadOnlySpan<byte> source, WeightType type, Span<float> destination)
    {
        switch (type)
        {
            case WeightType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case WeightType.F16:
                var halves = MemoryMarshal.Cast<byte, Half>(source);
                for (var i = 0; i < halves.Length; i++) destination[i] = (float)halves[i];
                break;
            case WeightType.BF16:
                var upper = MemoryMarshal.Cast<byte, ushort>(source);
                for (var i = 0; i < upper.Length; i++) destination[i] = BitConverter.UInt32BitsToSingle((uint)upper[i] << 16);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Weights are F32, F16 or BF16.");
        }
    }

    /// <summary>Narrows to F16 or BF16, to the nearest, halves to even.</summary>
    /// <param name="source">Finite numbers.</param>
    /// <param name="type">F16 or BF16.</param>
    /// <param name="destination">Two bytes per number.</param>
    public static void FromSingle(ReadOnlySpan<float> source, WeightType type, Span<byte> destination)
    {
        var halves = MemoryMarshal.Cast<byte, ushort>(destination);
        switch (type)
        {
            case WeightType.F16:
                for (var i = 0; i < source.Length; i++) halves[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
                break;
            case WeightType.BF16:
                for (var i = 0; i < source.Length; i++)
                {
                    var bits = BitConverter.SingleToUInt32Bits(source[i]);
                    halves[i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
                }
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Weights are narrowed to F16 or BF16.");
        }
    }

    /// <summary>Index of the first NaN or infinity, or -1.</summary>
    public static int IndexOfNonFinite(ReadOnlySpan<float> values)
    {
        var i = 0;
        if (Vector.IsHardwareAccelerated)
        {
            var limit = new Vector<float>(float.MaxValue);
            for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
                if (!Vector.LessThanOrEqualAll(Vector.Abs(new Vector<float>(values[i..])), limit)) break; // false for NaN too
        }
        for (; i < values.Length; i++)
            if (!float.IsFinite(values[i])) return i;
        return -1;
    }
}
