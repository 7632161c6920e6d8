using TorchSharp.Native;
using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>A number of one of libtorch's scalar kinds: whole, floating-point or truth value. It holds no native memory.</summary>
public sealed class Scalar : IDisposable
{
    internal readonly ValueKind Kind;
    internal readonly long Bits;

    internal Scalar(ValueKind kind, long bits, ScalarType type)
    {
        Kind = kind;
        Bits = bits;
        Type = type;
    }

    /// <summary>Float64 of every floating-point value, Int64 of every whole one, Bool.</summary>
    public ScalarType Type { get; }

    internal double Real => Kind == ValueKind.Double ? BitConverter.Int64BitsToDouble(Bits) : Bits;

    internal long Whole => Kind == ValueKind.Double ? (long)BitConverter.Int64BitsToDouble(Bits) : Bits;

    public static implicit operator Scalar(byte value) => FromWhole(value);

    public static implicit operator Scalar(sbyte value) => FromWhole(value);

    public static implicit operator Scalar(short value) => FromWhole(value);

    public static implicit operator Scalar(int value) => FromWhole(value);

    public static implicit operator Scalar(long value) => FromWhole(value);

    public static implicit operator Scalar(Half value) => FromReal((double)value);

    public static implicit operator Scalar(BFloat16 value) => FromReal(value.ToSingle());

    public static implicit operator Scalar(float value) => FromReal(value);

    public static implicit operator Scalar(double value) => FromReal(value);

    public static implicit operator Scalar(bool value) => new(ValueKind.Bool, value ? 1 : 0, ScalarType.Bool);

    /// <summary>Nothing to give back; here because TorchSharp's Scalar can be disposed.</summary>
    public void Dispose()
    {
    }

    internal static Scalar FromWhole(long value) => new(ValueKind.Int, value, ScalarType.Int64);

    internal static Scalar FromReal(double value) => new(ValueKind.Double, BitConverter.DoubleToInt64Bits(value), ScalarType.Float64);
}

/// <summary>Conversions between numbers and <see cref="Scalar"/>.</summary>
public static class ScalarExtensionMethods
{
    public static Scalar ToScalar(this byte value) => value;

    public static Scalar ToScalar(this sbyte value) => value;

    public static Scalar ToScalar(this short value) => value;

    public static Scalar ToScalar(this int value) => value;

    public static Scalar ToScalar(this long value) => value;

    public static Scalar ToScalar(this Half value) => value;

    public static Scalar ToScalar(this BFloat16 value) => value;

    public static Scalar ToScalar(this float value) => value;

    public static Scalar ToScalar(this double value) => value;

    public static Scalar ToScalar(this bool value) => value;

    public static Scalar ToBFloat16Scalar(this float value) => new BFloat16(value);

    public static Half ToHalf(this Scalar value) => (Half)value.Real;

    public static BFloat16 ToBFloat16(this Scalar value) => new((float)value.Real);

    public static float ToSingle(this Scalar value) => (float)value.Real;

    public static double ToDouble(this Scalar value) => value.Real;

    public static sbyte ToSByte(this Scalar value) => (sbyte)value.Whole;

    public static byte ToByte(this Scalar value) => (byte)value.Whole;

    public static short ToInt16(this Scalar value) => (short)value.Whole;

    public static int ToInt32(this Scalar value) => (int)value.Whole;

    public static long ToInt64(this Scalar value) => value.Whole;

    public static bool ToBoolean(this Scalar value) => value.Real != 0;
}
