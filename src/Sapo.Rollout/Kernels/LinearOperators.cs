// Products of hidden states with stored matrices, [out, in] each:
//   Linear       x [.., in], matrix, perhaps wanted (int64)        -> x · matrixᵀ [.., out]; zeros where every number of wanted is negative
//   LinearThree  x [.., in], three matrices                        -> the three products
//   LinearGated  x [.., in], gate matrix, up matrix of one shape   -> g * sigmoid(g) * u [.., out], of the products g and u
//
//   x ──Pack, once──> panels ──> tasks: strips of 8 rows of the matrices, one matrix after the other ──LinearKernel──> results
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Sapo.Rollout.Kernels;

/// <summary>The operators over <see cref="LinearKernel"/>.</summary>
internal static unsafe class LinearOperators
{
    private const int MostMatrices = 3;
    private const nuint CacheLine = 64;

    /// <summary>Runs Linear.</summary>
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint ComputeLinear(OrtOperator.Kernel* kernel, nint context) => Compute(kernel, context, matrices: 1, gated: false);

    /// <summary>Runs LinearThree.</summary>
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint ComputeThree(OrtOperator.Kernel* kernel, nint context) => Compute(kernel, context, MostMatrices, gated: false);

    /// <summary>Runs LinearGated.</summary>
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint ComputeGated(OrtOperator.Kernel* kernel, nint context) => Compute(kernel, context, matrices: 2, gated: true);

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Compute(OrtOperator.Kernel* kernel, nint context, int matrices, bool gated)
    {
        var products = stackalloc Product[MostMatrices];
        var status = OrtInterface.Input(context, 0, out var x);
        if (status != 0) return status;
        if (x.Dimensions < 1) return Misfit();
        var call = new Call { Products = products, Matrices = matrices, Width = x[-1], Rows = x[-1] == 0 ? 0 : x.Count / x[-1] };
        for (var i = 0; i < matrices; i++)
        {
            if ((status = OrtInterface.Input(context, i + 1, out var matrix)) != 0) return status;
            if (matrix.Dimensions != 2 || matrix[1] != call.Width || (gated && i > 0 && matrix[0] != products[0].Height)) return Misfit();
            products[i] = new Product { Weight = matrix.Floats, Height = matrix[0], FirstStrip = gated ? 0 : call.Strips };
            call.Strips = products[i].FirstStrip + (products[i].Height + LinearKernel.Strip - 1) / LinearKernel.Strip;
            call.Work += KernelOperators.Lanes(call.Rows) * call.Width * products[i].Height;
        }
        for (var i = 0; i < (gated ? 1 : matrices); i++)
        {
            var y = x;
            y.Shape[x.Dimensions - 1] = products[i].Height;
            if ((status = OrtInterface.Output(context, i, ref y)) != 0) return status;
            products[i].Y = y.Floats;
        }
        if (call.Rows == 0 || call.Strips == 0) return 0;
        if ((status = IsWanted(context, matrices, out var isWanted)) != 0) return status;
        if (!isWanted)
        {
            NativeMemory.Clear(products[0].Y, (nuint)(call.Rows * products[0].Height) * sizeof(float));
            return 0;
        }

        nint panelFloats = LinearKernel.PanelFloats(call.Rows, call.Width), gateFloats = gated ? (nint)call.Rows * products[0].Height : 0;
        var scratch = (float*)NativeMemory.AlignedAlloc((nuint)(panelFloats + gateFloats) * sizeof(float), CacheLine);
        call.Panels = scratch;
        if (gated)
        {
            products[1].Y = products[0].Y;
            products[0].Y = scratch + panelFloats;
        }
        LinearKernel.Pack(x.Floats, call.Rows, call.Width, call.Panels);
        call.Tasks = KernelOperators.Tasks(kernel, call.Strips, call.Work);
        if (call.Tasks > 1) status = gated ? OrtInterface.Run(context, &RunGated, call.Tasks, &call) : OrtInterface.Run(context, &RunStrips, call.Tasks, &call);
        else if (gated) Gated(&call, 0, call.Strips);
        else Strips(&call, 0, call.Strips);
        NativeMemory.AlignedFree(scratch);
        return status;
    }

    // Only Linear has an input behind its matrices: all of it negative says that nobody looks at the result.
    private static nint IsWanted(nint context, int matrices, out bool isWanted)
    {
        isWanted = true;
        var status = OrtInterface.InputCount(context, out var count);
        if (status != 0 || count <= matrices + 1) return status;
        if ((status = OrtInterface.Input(context, matrices + 1, out var wanted)) != 0) return status;
        isWanted = false;
        for (var i = 0L; i < wanted.Count; i++) isWanted |= ((long*)wanted.Data)[i] >= 0;
        return 0;
    }

    private static nint Misfit() => OrtInterface.Failure("sapo.Linear: x is not [.., in] for a matrix [out, in]\0"u8);

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunStrips(Call* call, nuint index)
    {
        var (from, to) = KernelOperators.Part(call->Strips, call->Tasks, (int)index);
        Strips(call, from, to);
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunGated(Call* call, nuint index)
    {
        var (from, to) = KernelOperators.Part(call->Strips, call->Tasks, (int)index);
        Gated(call, from, to);
    }

    // Strips of all matrices, counted through.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Strips(Call* call, int from, int to)
    {
        for (var i = 0; i < call->Matrices; i++) Multiply(call, i, from - call->Products[i].FirstStrip, to - call->Products[i].FirstStrip);
    }

    // The same strips of both matrices, then the gate while they are in the cache.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Gated(Call* call, int from, int to)
    {
        var (gate, up) = (call->Products[0], call->Products[1]);
        Multiply(call, 0, from, to);
        Multiply(call, 1, from, to);
        int first = from * LinearKernel.Strip, count = Math.Min(to * LinearKernel.Strip, up.Height) - first;
        for (var row = (nint)0; row < call->Rows; row++) VectorMath.Gate(gate.Y + row * gate.Height + first, up.Y + row * up.Height + first, count);
    }

    private static void Multiply(Call* call, int matrix, int fromStrip, int toStrip)
    {
        var product = call->Products[matrix];
        int from = Math.Max(0, fromStrip * LinearKernel.Strip), to = Math.Min(toStrip * LinearKernel.Strip, product.Height);
        if (from < to) LinearKernel.Multiply(call->Panels, call->Rows, product.Weight, product.Height, call->Width, from, to, product.Y);
    }

    private struct Product
    {
        public float* Weight, Y;
        public int Height, FirstStrip;
    }

    // What the tasks of a call share; lies on the stack of Compute, which waits for them.
    private struct Call
    {
        public Product* Products;
        public float* Panels;
        public long Rows, Work;
        public int Matrices, Width, Strips, Tasks;
    }
}
