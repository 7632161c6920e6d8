namespace TorchSharp;

public static partial class torch
{
    public static FInfo finfo() => finfo(get_default_dtype());

    public static FInfo finfo(ScalarType dtype) => dtype switch
    {
        ScalarType.BFloat16 => FInfo.Of(16, fractionBits: 7, maxExponent: 127, resolution: 1e-2),
        ScalarType.Float16 => FInfo.Of(16, fractionBits: 10, maxExponent: 15, resolution: 1e-3),
        ScalarType.Float32 => FInfo.Of(32, fractionBits: 23, maxExponent: 127, resolution: 1e-6),
        ScalarType.Float64 => FInfo.Of(64, fractionBits: 52, maxExponent: 1023, resolution: 1e-15),
        _ => throw new ArgumentException($"finfo is for floating-point types; {dtype} is none."),
    };

    /// <summary>The limits of a floating-point type.</summary>
    public struct FInfo
    {
        public int bits;
        public double eps;
        public double max;
        public double min;
        public double tiny;
        public double smallest_normal;
        public double resolution;

        internal static FInfo Of(int bits, int fractionBits, int maxExponent, double resolution)
        {
            double eps = Math.ScaleB(1, -fractionBits);
            double max = Math.ScaleB(2 - eps, maxExponent);
            double smallest = Math.ScaleB(1, 1 - maxExponent);
            return new FInfo { bits = bits, eps = eps, max = max, min = -max, tiny = smallest, smallest_normal = smallest,
                resolution = resolution };
        }
    }
}
