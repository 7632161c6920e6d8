using static TorchSharp.torch;

namespace TorchSharp.Native;

/// <summary>One argument of an operator, before it is laid out for the shim. Null is the operator's "none".</summary>
internal readonly struct Argument
{
    internal readonly ValueKind Kind;
    internal readonly long Bits;
    internal readonly object? Reference;

    private Argument(ValueKind kind, long bits = 0, object? reference = null)
    {
        Kind = reference is null && kind >= ValueKind.IntList && kind != ValueKind.Device ? ValueKind.None : kind;
        Bits = bits;
        Reference = reference;
    }

    /// <summary>Leaves the argument to the operator's schema.</summary>
    internal static Argument Default => default;

    /// <summary>The operator's "none".</summary>
    internal static Argument None => new(ValueKind.None);

    public static implicit operator Argument(Tensor? value) => value is null ? None : new(ValueKind.Tensor, 0, value);

    public static implicit operator Argument(Scalar? value) => value is null ? None : new(value.Kind, value.Bits);

    public static implicit operator Argument(long value) => new(ValueKind.Int, value);

    public static implicit operator Argument(long? value) => value is { } given ? given : None;

    public static implicit operator Argument(int? value) => value is { } given ? (long)given : None;

    public static implicit operator Argument(double value) => new(ValueKind.Double, BitConverter.DoubleToInt64Bits(value));

    public static implicit operator Argument(double? value) => value is { } given ? given : None;

    public static implicit operator Argument(bool value) => new(ValueKind.Bool, value ? 1 : 0);

    public static implicit operator Argument(bool? value) => value is { } given ? given : None;

    public static implicit operator Argument(ScalarType value) => new(ValueKind.Int, (long)value);

    public static implicit operator Argument(ScalarType? value) => value is { } given ? given : None;

    public static implicit operator Argument(Device? value) => value is null
        ? None
        : new(ValueKind.Device, ((long)value.type << 32) | (uint)value.index);

    public static implicit operator Argument(Generator? value) => new(ValueKind.Generator, 0, value);

    public static implicit operator Argument(long[]? value) => new(ValueKind.IntList, 0, value);

    public static implicit operator Argument(ReadOnlySpan<long> value) => new(ValueKind.IntList, 0, value.ToArray());

    public static implicit operator Argument(double[]? value) => new(ValueKind.DoubleList, 0, value);

    public static implicit operator Argument(Tensor?[]? value) => new(ValueKind.TensorList, 0, value);

    public static implicit operator Argument(string? value) => new(ValueKind.String, 0, value);
}
