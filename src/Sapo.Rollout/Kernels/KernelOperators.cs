// The kernels as operators of a graph, domain "sapo":
//   Linear     x [.., in], matrix [out, in]                                                     -> [.., out]
//   Attention  q, k, v, past keys, past values, last positions, total length, cosines, sines    -> result, keys, values
//              (the inputs, outputs and attributes of com.microsoft.GroupQueryAttention that our graphs use)
//
//   SessionOptions <── Register: the domain with one OrtCustomOp per operator, a table of functions that ONNX Runtime calls
//   session is made ──> CreateKernel: attributes are read, nothing is reordered
//   a step          ──> Compute: shapes and addresses from the context ──> tasks on the session's own threads ──> the kernel
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Sapo.Rollout.Kernels;

/// <summary>Makes the kernels known to sessions.</summary>
internal static unsafe class KernelOperators
{
    private const long ProductsPerTask = 1 << 19; // about 10 microseconds, which is what waking a thread takes
    private const int TasksPerThread = 4;         // so that a thread that was held up does not hold up the others

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
            if (!Domains.TryGetValue(threads, out var domain))
            {
                var linear = OrtOperator.Create("Linear\0"u8, threads, [Float, Float], optionalInputs: 0, [Float], &OrtOperator.NoState, &ComputeLinear);
                var attention = OrtOperator.Create("Attention\0"u8, threads, [Float, Float, Float, Float, Float, Integer, Integer, Float, Float], optionalInputs: 0, [Float, Float, Float], &CreateAttention, &ComputeAttention);
                Domains.Add(threads, domain = OrtInterface.CreateDomain("sapo\0"u8, linear, attention));
            }
            OrtInterface.AddDomain(options, domain);
        }
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint ComputeLinear(OrtOperator.Kernel* kernel, nint context)
    {
        nint status;
        if ((status = OrtInterface.Input(context, 0, out var x)) != 0 || (status = OrtInterface.Input(context, 1, out var matrix)) != 0) return status;
        if (x.Dimensions < 1 || matrix.Dimensions != 2 || x[-1] != matrix[1]) return OrtInterface.Failure("sapo.Linear: x is not [.., in] for a matrix [out, in]\0"u8);
        var y = x;
        y.Shape[x.Dimensions - 1] = matrix[0];
        if ((status = OrtInterface.Output(context, 0, ref y)) != 0) return status;
        var product = new Product { X = x.Floats, Weight = matrix.Floats, Y = y.Floats, Rows = matrix[1] == 0 ? 0 : x.Count / matrix[1], Height = matrix[0], Width = matrix[1] };
        product.Tasks = Tasks(kernel, Strips(product.Height), Lanes(product.Rows) * product.Height * product.Width);
        if (product.Tasks > 1) return OrtInterface.Run(context, &RunLinear, product.Tasks, &product);
        LinearKernel.Multiply(product.X, product.Rows, product.Weight, product.Height, product.Width, 0, product.Height, product.Y);
        return 0;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunLinear(Product* product, nuint index)
    {
        var (from, to) = Part(Strips(product->Height), product->Tasks, (int)index);
        LinearKernel.Multiply(
            product->X, product->Rows, product->Weight, product->Height, product->Width, from * LinearKernel.Strip, Math.Min(to * LinearKernel.Strip, product->Height), product->Y);
    }

    [UnmanagedCallersOnly]
    private static nint CreateAttention(OrtOperator.Kernel* kernel, nint info)
    {
        nint status;
        if ((status = OrtInterface.Attribute(info, "num_heads\0"u8, out long heads)) != 0 || (status = OrtInterface.Attribute(info, "local_window_size\0"u8, out long window)) != 0) return status;
        if ((status = OrtInterface.Attribute(info, "scale\0"u8, out float scale)) != 0) return status;
        (kernel->Heads, kernel->Window, kernel->Scale) = ((int)heads, (int)window, scale);
        return 0;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint ComputeAttention(OrtOperator.Kernel* kernel, nint context)
    {
        var inputs = stackalloc OrtInterface.Tensor[9];
        for (var i = 0; i < 9; i++)
        {
            var read = OrtInterface.Input(context, i, out inputs[i]);
            if (read != 0) return read;
        }
        OrtInterface.Tensor queries = inputs[0], keys = inputs[3], values = inputs[4], result = queries;
        if (!Fit(inputs, kernel->Heads))
            return OrtInterface.Failure("sapo.Attention: inputs are not [batch, tokens, heads * size] for caches [batch, key-value heads, positions, size], size a multiple of 16\0"u8);
        var call = new AttentionCall
        {
            Queries = queries.Floats, Keys = inputs[1].Floats, Values = inputs[2].Floats, LastPositions = (int*)inputs[5].Data, Cosines = inputs[7].Floats, Sines = inputs[8].Floats,
            Batch = queries[0], Tokens = queries[1], Heads = kernel->Heads, KeyValueHeads = keys[1], Capacity = keys[2], Size = keys[3], Scale = kernel->Scale, Window = kernel->Window,
        };
        var positions = 0L;
        for (var i = 0; i < call.Batch; i++)
        {
            var last = call.LastPositions[i];
            if (last + 1 < call.Tokens || last >= call.Capacity || last >= inputs[7][0])
                return OrtInterface.Failure("sapo.Attention: a sequence's last position is not within its new tokens, the cache and the rotary tables\0"u8);
            positions += last + 1;
        }
        nint status;
        if ((status = OrtInterface.Output(context, 0, ref result)) != 0 || (status = Extended(context, 1, ref keys)) != 0 || (status = Extended(context, 2, ref values)) != 0) return status;
        call.Output = result.Floats;
        call.KeyCache = keys.Floats;
        call.ValueCache = values.Floats;
        var attention = new Attention { Call = call };
        attention.Tasks = Tasks(kernel, call.Batch * call.KeyValueHeads, 2 * positions * call.KeyValueHeads * call.Size * Lanes((long)call.Tokens * call.Heads / call.KeyValueHeads));
        if (attention.Tasks > 1) return OrtInterface.Run(context, &RunAttention, attention.Tasks, &attention);
        Attend(&attention, 0, call.Batch * call.KeyValueHeads);
        return 0;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunAttention(Attention* attention, nuint index)
    {
        var (from, to) = Part(attention->Call.Batch * attention->Call.KeyValueHeads, attention->Tasks, (int)index);
        Attend(attention, from, to);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend(Attention* attention, int from, int to)
    {
        for (var i = from; i < to; i++) AttentionKernel.Attend(attention->Call, i / attention->Call.KeyValueHeads, i % attention->Call.KeyValueHeads);
    }

    // Everything that is read or written lies within what was given; positions are looked at one by one.
    private static bool Fit(OrtInterface.Tensor* inputs, int heads)
    {
        OrtInterface.Tensor queries = inputs[0], cache = inputs[3];
        if (queries.Dimensions != 3 || cache.Dimensions != 4 || inputs[4].Dimensions != 4 || inputs[7].Dimensions != 2 || inputs[8].Dimensions != 2) return false;
        var (batch, shared, size) = (queries[0], cache[1], cache[3]);
        if (batch != cache[0] || shared < 1 || heads < 1 || heads % shared != 0 || size < LinearKernel.Lanes || size % LinearKernel.Lanes != 0 || queries[2] != heads * size) return false;
        var added = (long)batch * queries[1] * shared * size;
        return inputs[1].Count == added && inputs[2].Count == added && inputs[4].Count == cache.Count && inputs[5].Count == batch
            && inputs[7][1] == size / 2 && inputs[8].Count == inputs[7].Count;
    }

    // A cache that is not bound to be its own continuation is copied first.
    private static nint Extended(nint context, int output, ref OrtInterface.Tensor cache)
    {
        var past = cache.Data;
        var status = OrtInterface.Output(context, output, ref cache);
        if (status == 0 && cache.Data != past) NativeMemory.Copy(past, cache.Data, checked((nuint)cache.Count * sizeof(float)));
        return status;
    }

    // Rows cost as much as the vectors they fill.
    private static long Lanes(long rows) => (rows + LinearKernel.Lanes - 1) / LinearKernel.Lanes * LinearKernel.Lanes;

    private static int Strips(int height) => (height + LinearKernel.Strip - 1) / LinearKernel.Strip;

    private static int Tasks(OrtOperator.Kernel* kernel, int pieces, long products) =>
        kernel->Threads == 1 ? 1 : (int)Math.Min(Math.Min(TasksPerThread * kernel->Threads, pieces), products / ProductsPerTask);

    private static (int From, int To) Part(int pieces, int tasks, int index) => ((int)((long)pieces * index / tasks), (int)((long)pieces * (index + 1) / tasks));

    // What the tasks of a call share; lies on the stack of Compute, which waits for them.
    private struct Product
    {
        public float* X, Weight, Y;
        public long Rows;
        public int Height, Width, Tasks;
    }

    private struct Attention
    {
        public AttentionCall Call;
        public int Tasks;
    }
}
