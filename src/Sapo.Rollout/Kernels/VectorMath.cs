using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Kernels;

/// <summary>What kernels do to one vector of hidden states. Sums run over 16 lanes in order, then over the lanes: the same for every row.</summary>
internal static unsafe class VectorMath
{
    private const int Lanes = 16, Half = Lanes / 2;

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

    /// <summary>A vector whose size is a multiple of 16 times a number, in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(float* x, int size, float factor)
    {
        for (var i = 0; i < size; i += Lanes) (Vector512.Load(x + i) * factor).Store(x + i);
    }

    /// <summary>up * gate * sigmoid(gate), the gated unit of Llama and Qwen.</summary>
    /// <param name="gate">[size].</param>
    /// <param name="up">[size]; becomes the result.</param>
    /// <param name="size">Elements.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gate(float* gate, float* up, int size)
    {
        var i = 0;
        for (; i + Half <= size; i += Half) Gated(Vector256.Load(gate + i), Vector256.Load(up + i)).Store(up + i);
        for (; i < size; i++) up[i] = Gated(Vector256.Create(gate[i]), Vector256.Create(up[i])).ToScalar(); // the same steps as in a whole vector
    }

    private static Vector256<float> Gated(Vector256<float> gate, Vector256<float> up) => gate / (Vector256<float>.One + Vector256.Exp(-gate)) * up;
}
