// The residual stream between two blocks:
//   AddNorm  stream [.., n], added [.., n], weight [n]   -> norm of the sum times weight [.., n], the sum [.., n]
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Sapo.Rollout.Kernels;

/// <summary>The operator over <see cref="VectorMath"/>.</summary>
internal static unsafe class NormOperators
{
    private const int StepsPerElement = 32; // as long as so many multiply-adds: it waits for memory

    /// <summary>Reads AddNorm's attribute: epsilon.</summary>
    [UnmanagedCallersOnly]
    public static nint CreateAddNorm(OrtOperator.Kernel* kernel, nint info) => OrtInterface.Attribute(info, "epsilon\0"u8, out kernel->Epsilon);

    /// <summary>Runs AddNorm.</summary>
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint ComputeAddNorm(OrtOperator.Kernel* kernel, nint context)
    {
        nint status;
        if ((status = OrtInterface.Input(context, 0, out var stream)) != 0 || (status = OrtInterface.Input(context, 1, out var added)) != 0) return status;
        if ((status = OrtInterface.Input(context, 2, out var weight)) != 0) return status;
        if (stream.Dimensions < 1 || added.Dimensions != stream.Dimensions || added.Count != stream.Count || added[-1] != stream[-1] || weight.Count != stream[-1])
            return OrtInterface.Failure("sapo.AddNorm: stream and added are not of one shape [.., n] for a weight [n]\0"u8);
        OrtInterface.Tensor normed = stream, sum = stream;
        if ((status = OrtInterface.Output(context, 0, ref normed)) != 0 || (status = OrtInterface.Output(context, 1, ref sum)) != 0) return status;
        if (stream.Count == 0) return 0;
        var call = new Call
        {
            Stream = stream.Floats, Added = added.Floats, Weight = weight.Floats, Normed = normed.Floats, Sum = sum.Floats,
            Rows = (int)(stream.Count / stream[-1]), Size = stream[-1], Epsilon = kernel->Epsilon,
        };
        call.Tasks = KernelOperators.Tasks(kernel, call.Rows, stream.Count * StepsPerElement);
        if (call.Tasks > 1) return OrtInterface.Run(context, &RunRows, call.Tasks, &call);
        Rows(&call, 0, call.Rows);
        return 0;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunRows(Call* call, nuint index)
    {
        var (from, to) = KernelOperators.Part(call->Rows, call->Tasks, (int)index);
        Rows(call, from, to);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows(Call* call, int from, int to)
    {
        for (var row = (nint)from; row < to; row++)
        {
            var at = row * call->Size;
            VectorMath.Add(call->Stream + at, call->Added + at, call->Size, call->Sum + at);
            VectorMath.Normalize(call->Sum + at, call->Weight, call->Size, call->Epsilon, call->Normed + at);
        }
    }

    private struct Call
    {
        public float* Stream, Added, Weight, Normed, Sum;
        public int Rows, Size, Tasks;
        public float Epsilon;
    }
}
