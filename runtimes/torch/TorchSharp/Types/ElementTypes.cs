using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>Which element type a .NET type stands for, and what the element types are.</summary>
internal static class ElementTypes
{
    /// <summary>The element type of a .NET number; null where there is none.</summary>
    internal static ScalarType? Of(Type type) =>
        type == typeof(byte) ? ScalarType.Byte
        : type == typeof(sbyte) ? ScalarType.Int8
        : type == typeof(short) ? ScalarType.Int16
        : type == typeof(int) ? ScalarType.Int32
        : type == typeof(long) ? ScalarType.Int64
        : type == typeof(Half) ? ScalarType.Float16
        : type == typeof(BFloat16) ? ScalarType.BFloat16
        : type == typeof(float) ? ScalarType.Float32
        : type == typeof(double) ? ScalarType.Float64
        : type == typeof(bool) ? ScalarType.Bool
        : null;

    /// <summary>The element type of an array's elements.</summary>
    /// <exception cref="NotSupportedException">Tensors do not hold such elements.</exception>
    internal static ScalarType OfElements(Array array)
    {
        Type type = array.GetType().GetElementType()!;
        return Of(type) ?? throw new NotSupportedException($"The type {type.Name} is not supported.");
    }
}
