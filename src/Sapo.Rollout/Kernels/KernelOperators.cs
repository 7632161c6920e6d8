// The kernels as operators of a graph, domain "sapo". Each file *Operators.cs says what its operators take and give.
//
//   SessionOptions <── Register: the domain with one OrtCustomOp per operator, a table of functions that ONNX Runtime calls
//   session is made ──> CreateKernel: attributes are read, nothing is reordered
//   a step          ──> Compute: shapes and addresses from the context ──> tasks on the session's own threads ──> the kernel
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Kernels;

/// <summary>Makes the kernels known to sessions, and cuts their work into tasks.</summary>
internal static unsafe class KernelOperators
{
    private const long ProductsPerTask = 1 << 20; // about 20 microseconds: waking a thread takes about as long
    private const int TasksPerThread = 8;         // so that a thread that was held up does not hold up the others
    private const TensorElementType Float = TensorElementType.Float, Integer = TensorElementType.Int32;

    private static readonly Lock Gate = new();
    private static readonly Dictionary<int, nint> Domains = []; // by number of threads; kept for good, because sessions refer to them

    /// <summary>Adds the operators to the options of a session.</summary>
    /// <param name="options">The options.</param>
    /// <param name="threads">The session's threads.</param>
    public static void Register(SessionOptions options, int threads)
    {
        lock (Gate)
        {
            if (!Domains.TryGetValue(threads, out var domain)) Domains.Add(threads, domain = OrtInterface.CreateDomain("sapo\0"u8, Operators(threads)));
            OrtInterface.AddDomain(options, domain);
        }
    }

    /// <summary>How many tasks some work is worth.</summary>
    /// <param name="kernel">Knows the threads.</param>
    /// <param name="pieces">Parts it can be cut into.</param>
    /// <param name="products">Multiply-adds it takes.</param>
    public static int Tasks(OrtOperator.Kernel* kernel, int pieces, long products) =>
        kernel->Threads == 1 ? 1 : (int)Math.Min(Math.Min(TasksPerThread * kernel->Threads, pieces), products / ProductsPerTask);

    /// <summary>The parts of one task.</summary>
    public static (int From, int To) Part(int pieces, int tasks, int index) => ((int)((long)pieces * index / tasks), (int)((long)pieces * (index + 1) / tasks));

    /// <summary>Rows cost as much as the vectors they fill.</summary>
    public static long Lanes(long rows) => (rows + LinearKernel.Lanes - 1) / LinearKernel.Lanes * LinearKernel.Lanes;

    private static nint[] Operators(int threads) =>
    [
        OrtOperator.Create("Linear\0"u8, threads, [Float, Float, TensorElementType.Int64], optionalInputs: 1, [Float], &OrtOperator.NoState, &LinearOperators.ComputeLinear),
        OrtOperator.Create("LinearThree\0"u8, threads, [Float, Float, Float, Float], optionalInputs: 0, [Float, Float, Float], &OrtOperator.NoState, &LinearOperators.ComputeThree),
        OrtOperator.Create("LinearGated\0"u8, threads, [Float, Float, Float], optionalInputs: 0, [Float], &OrtOperator.NoState, &LinearOperators.ComputeGated),
        OrtOperator.Create("AddNorm\0"u8, threads, [Float, Float, Float], optionalInputs: 0, [Float, Float], &NormOperators.CreateAddNorm, &NormOperators.ComputeAddNorm),
        OrtOperator.Create(
            "Attention\0"u8, threads, [Float, Float, Float, Float, Float, Integer, Integer, Float, Float, Integer, Integer, Float, Float], optionalInputs: 2, [Float, Float, Float],
            &AttentionOperators.CreateAttention, &AttentionOperators.ComputeAttention),
        SamplingOperators.Create(threads),
    ];
}
