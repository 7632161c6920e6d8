using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Kernels;

/// <summary>What kernels do to one vector of hidden states. Sums run over 16 lanes in order, then over the lanes: the same for every row.</summary>
internal static unsafe class VectorMath
{
    private const int Lanes = 16;

    /// <summary>x / sqrt(mean(x²) + epsilon) * weight.</summary>
    /// <param name="x">[size].</param>
    /// <param name="weight">[size].</param>
    /// <param name="size">Elements.</param>
    /// <param name="epsilon">Keeps the root from 0.</param>
    /// <param name="result">[size]; may be x.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Normalize(float* x, float* weight, int size, float epsilon, float* result)
    {
        var squares = Vector512<float>.Zero;
        var i = 0;
        for (; i + Lanes <= size; i += Lanes) squares = Vector512.FusedMultiplyAdd(Vector512.Load(x + i), Vector512.Load(x + i), squares);
        var sum = Vector512.Sum(squares);
        for (; i < size; i++) sum += x[i] * x[i];
        var factor = 1 / MathF.Sqrt(sum / size + epsilon);
        for (i = 0; i + Lanes <= size; i += Lanes) (Vector512.Load(x + i) * factor * Vector512.Load(weight + i)).Store(result + i);
        for (; i < size; i++) result[i] = x[i] * factor * weight[i];
    }

    /// <summary>The sum of two vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(float* x, float* y, int size, float* result)
    {
        var i = 0;
        for (; i + Lanes <= size; i += Lanes) (Vector512.Load(x + i) + Vector512.Load(y + i)).Store(result + i);
        for (; i < size; i++) result[i] = x[i] + y[i];
    }

    /// <summary>A vector whose size is a multiple of 16 times a number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(float* x, int size, float factor, float* result)
    {
        for (var i = 0; i < size; i += Lanes) (Vector512.Load(x + i) * factor).Store(result + i);
    }

    /// <summary>up * gate * sigmoid(gate), the gated unit of Llama and Qwen.</summary>
    /// <param name="gate">[size].</param>
    /// <param name="up">[size]; becomes the result.</param>
    /// <param name="size">Elements.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gate(float* gate, float* up, int size)
    {
        var i = 0;
        for (; i + Lanes <= size; i += Lanes) Gated(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(up + i);
        for (; i < size; i++) up[i] = Gated(Vector512.CreateScalar(gate[i]), Vector512.CreateScalar(up[i])).ToScalar(); // the same steps as in a whole vector
    }

    /// <summary>
    /// e to the power of each lane, within 2 units in the last place. Below -87.3, where a float has fewer digits, and at -infinity it is 0; above 88.37 it is infinity; NaN stays.
    /// x = n log 2 + r with |r| at most (log 2) / 2, and the series of e^r has converged at its 8th term.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        const float Least = -88, Most = 89, PerLog2 = 1.44269504f, Log2High = 0.693359375f, Log2Low = -2.12194440e-4f; // the high part has 9 digits, so n times it is exact
        const int Bias = 127, FractionBits = 23;
        var bounded = Vector512.MinNative(Vector512.MaxNative(x, Vector512.Create(Least)), Vector512.Create(Most));
        var n = Vector512.Round(bounded * PerLog2);
        var r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-Log2Low), Vector512.FusedMultiplyAdd(n, Vector512.Create(-Log2High), bounded));
        var series = Vector512.Create(1f / 5040);
        series = Vector512.FusedMultiplyAdd(series, r, Vector512.Create(1f / 720));
        series = Vector512.FusedMultiplyAdd(series, r, Vector512.Create(1f / 120));
        series = Vector512.FusedMultiplyAdd(series, r, Vector512.Create(1f / 24));
        series = Vector512.FusedMultiplyAdd(series, r, Vector512.Create(1f / 6));
        series = Vector512.FusedMultiplyAdd(series, r, Vector512.Create(1f / 2));
        series = Vector512.FusedMultiplyAdd(series, r, Vector512<float>.One);
        series = Vector512.FusedMultiplyAdd(series, r, Vector512<float>.One);
        var power = Vector512.ShiftLeft(Vector512.ConvertToInt32Native(n) + Vector512.Create(Bias), FractionBits).AsSingle(); // 2^n: 0 at -127, infinity at 128
        return Vector512.ConditionalSelect(Vector512.Equals(x, x), series * power, x);
    }

    /// <summary>The largest lane; without regard for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(Vector512<float> x)
    {
        var eight = Vector256.MaxNative(x.GetLower(), x.GetUpper());
        var four = Vector128.MaxNative(eight.GetLower(), eight.GetUpper());
        return MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3]));
    }

    private static Vector512<float> Gated(Vector512<float> gate, Vector512<float> up) => gate / (Vector512<float>.One + Exp(-gate)) * up;
}
