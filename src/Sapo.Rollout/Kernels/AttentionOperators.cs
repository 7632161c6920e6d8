// Attention over caches that are extended in place:
//   Attention  q [batch, tokens, heads * size], k, v, past keys, past values, last positions, total length, cosines, sines,
//              shared with, shared lengths, (q norm, k norm)   -> result [batch, tokens, heads * size], keys, values
//   The first nine inputs, the outputs and the attributes are those of com.microsoft.GroupQueryAttention that our graphs use. The key
//   cache has its shape, [batch, key-value heads, positions, size], and an order of its own (AttentionKernel).
//
//   sequences ──in the order of what they share──> clusters ──> tasks: one key-value head of one sequence after the other,
//                                                               a cluster's sequences of one head together
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Sapo.Rollout.Kernels;

/// <summary>The operator over <see cref="AttentionKernel"/>.</summary>
internal static unsafe class AttentionOperators
{
    private const int FixedInputs = 11, MostInputs = 13;
    private const int StepsPerProduct = 4; // as long as so many multiply-adds of a matrix product: it waits for memory

    /// <summary>Reads Attention's attributes: num_heads, local_window_size, scale and, where queries and keys are normalized, epsilon.</summary>
    [UnmanagedCallersOnly]
    public static nint CreateAttention(OrtOperator.Kernel* kernel, nint info)
    {
        nint status;
        if ((status = OrtInterface.Attribute(info, "num_heads\0"u8, out long heads)) != 0 || (status = OrtInterface.Attribute(info, "local_window_size\0"u8, out long window)) != 0) return status;
        if ((status = OrtInterface.Attribute(info, "scale\0"u8, out kernel->Scale)) != 0) return status;
        (kernel->Heads, kernel->Window) = ((int)heads, (int)window);
        return OrtInterface.Attribute(info, "epsilon\0"u8, out kernel->Epsilon);
    }

    /// <summary>Runs Attention.</summary>
    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint ComputeAttention(OrtOperator.Kernel* kernel, nint context)
    {
        var inputs = stackalloc OrtInterface.Tensor[MostInputs];
        var status = OrtInterface.InputCount(context, out var count);
        for (var i = 0; i < count && status == 0; i++) status = OrtInterface.Input(context, i, out inputs[i]);
        if (status != 0) return status;
        OrtInterface.Tensor queries = inputs[0], keys = inputs[3], values = inputs[4], result = queries;
        if (!Fit(inputs, count, kernel->Heads))
            return OrtInterface.Failure(
                "sapo.Attention: inputs are not [batch, tokens, heads * size] for caches [batch, key-value heads, positions, size], positions and size multiples of 16\0"u8);
        var call = new AttentionCall
        {
            Queries = queries.Floats, Keys = inputs[1].Floats, Values = inputs[2].Floats, LastPositions = (int*)inputs[5].Data, Cosines = inputs[7].Floats, Sines = inputs[8].Floats,
            SharedWith = (int*)inputs[9].Data, SharedLengths = (int*)inputs[10].Data, QueryNorm = inputs[11].Floats, KeyNorm = inputs[12].Floats,
            Batch = queries[0], Tokens = queries[1], Heads = kernel->Heads, KeyValueHeads = keys[1], Capacity = keys[2], Size = keys[3],
            Scale = kernel->Scale, Epsilon = kernel->Epsilon, Window = kernel->Window,
        };
        var positions = 0L;
        for (var i = 0; i < call.Batch; i++)
        {
            var last = call.LastPositions[i];
            if (last + 1 < call.Tokens || last >= call.Capacity || last >= inputs[7][0])
                return OrtInterface.Failure("sapo.Attention: a sequence's last position is not within its new tokens, the cache and the rotary tables\0"u8);
            positions += last + 1;
        }
        for (var i = 0; i < call.Batch; i++)
            if (!Shares(call, i)) return OrtInterface.Failure("sapo.Attention: a sequence shares more than another one of the batch holds\0"u8);
        if ((status = OrtInterface.Output(context, 0, ref result)) != 0 || (status = Extended(context, 1, ref keys)) != 0 || (status = Extended(context, 2, ref values)) != 0) return status;
        call.Output = result.Floats;
        call.KeyCache = keys.Floats;
        call.ValueCache = values.Floats;
        return Attend(kernel, context, call, positions);
    }

    private static nint Attend(OrtOperator.Kernel* kernel, nint context, in AttentionCall call, long positions)
    {
        var clusters = (Cluster*)NativeMemory.AllocZeroed((nuint)call.Batch, (nuint)(sizeof(Cluster) + sizeof(int)));
        var attention = new Attention { Call = call, Clusters = clusters, Sequences = (int*)(clusters + call.Batch), Pieces = call.Batch * call.KeyValueHeads };
        Order(attention);
        long rows = (long)call.Tokens * call.Heads / call.KeyValueHeads, products = 2 * positions * call.KeyValueHeads * call.Size * (rows + rows % 2);
        attention.Tasks = KernelOperators.Tasks(kernel, attention.Pieces, products * StepsPerProduct);
        nint status = 0;
        if (attention.Tasks > 1) status = OrtInterface.Run(context, &RunAttention, attention.Tasks, &attention);
        else Attend(&attention, 0, attention.Pieces);
        NativeMemory.Free(clusters);
        return status;
    }

    // Sequences that read the same first positions stand behind each other.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Order(in Attention attention)
    {
        int* with = attention.Call.SharedWith, sequences = attention.Sequences;
        var clusters = attention.Clusters;
        for (var i = 0; i < attention.Call.Batch; i++) clusters[i + with[i]].Size++;
        for (int i = 0, first = 0; i < attention.Call.Batch; first += clusters[i++].Size) clusters[i].First = clusters[i].Next = first;
        for (var i = 0; i < attention.Call.Batch; i++) sequences[clusters[i + with[i]].Next++] = i;
    }

    [UnmanagedCallersOnly]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunAttention(Attention* attention, nuint index)
    {
        var (from, to) = KernelOperators.Part(attention->Pieces, attention->Tasks, (int)index);
        Attend(attention, from, to);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend(Attention* attention, int from, int to)
    {
        var next = PieceOf(attention, from);
        for (var piece = from; piece < to; piece++)
        {
            var (sequence, head) = next;
            if (piece + 1 < to) next = PieceOf(attention, piece + 1);
            AttentionKernel.Attend(attention->Call, sequence, head, next);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (int Sequence, int Head) PieceOf(Attention* attention, int piece)
    {
        var heads = attention->Call.KeyValueHeads;
        var any = attention->Sequences[piece / heads];
        var cluster = attention->Clusters[any + attention->Call.SharedWith[any]];
        var (head, member) = Math.DivRem(piece - cluster.First * heads, cluster.Size);
        return (attention->Sequences[cluster.First + member], head);
    }

    // What a sequence reads in another one's place lies there, and is older than this call.
    private static bool Shares(in AttentionCall call, int sequence)
    {
        int source = sequence + call.SharedWith[sequence], length = call.SharedLengths[sequence];
        if (source == sequence) return true;
        return source >= 0 && source < call.Batch && length >= 0 && length <= Math.Min(call.LastPositions[sequence], call.LastPositions[source]) + 1 - call.Tokens;
    }

    // Everything that is read or written lies within what was given; positions are looked at one by one.
    private static bool Fit(OrtInterface.Tensor* inputs, int count, int heads)
    {
        OrtInterface.Tensor queries = inputs[0], cache = inputs[3];
        if (count is not (FixedInputs or MostInputs)) return false;
        if (queries.Dimensions != 3 || cache.Dimensions != 4 || inputs[4].Dimensions != 4 || inputs[7].Dimensions != 2 || inputs[8].Dimensions != 2) return false;
        var (batch, shared, positions, size) = (queries[0], cache[1], cache[2], cache[3]);
        if (batch != cache[0] || shared < 1 || heads < 1 || heads % shared != 0 || positions % AttentionKernel.Block != 0) return false;
        if (size < LinearKernel.Lanes || size % LinearKernel.Lanes != 0 || queries[2] != heads * size) return false;
        var added = (long)batch * queries[1] * shared * size;
        if (inputs[1].Count != added || inputs[2].Count != added || inputs[4].Count != cache.Count || inputs[5].Count != batch || inputs[9].Count != batch || inputs[10].Count != batch) return false;
        if (count == MostInputs && (inputs[11].Count != size || inputs[12].Count != size)) return false;
        return inputs[7][1] == size / 2 && inputs[8].Count == inputs[7].Count;
    }

    // A cache that is not bound to be its own continuation is copied first.
    private static nint Extended(nint context, int output, ref OrtInterface.Tensor cache)
    {
        var past = cache.Data;
        var status = OrtInterface.Output(context, output, ref cache);
        if (status == 0 && cache.Data != past) NativeMemory.Copy(past, cache.Data, checked((nuint)cache.Count * sizeof(float)));
        return status;
    }

    // Of the sequence at the same place, if others share its positions; places in Sequences.
    private struct Cluster
    {
        public int First, Size, Next;
    }

    private struct Attention
    {
        public AttentionCall Call;
        public Cluster* Clusters;
        public int* Sequences;
        public int Pieces, Tasks;
    }
}
