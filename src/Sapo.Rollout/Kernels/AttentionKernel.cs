// Causal attention of one sequence and one key-value head, over a cache that it extends in place:
//
//   new keys ──rotate──> cache            new values ────────────> cache
//   queries ──rotate, scale──> [rows, d] ──LinearKernel with the keys as matrix──> scores [rows, positions]
//   scores ──mask, softmax──> weights ──times the values──> [rows, d]
//
// A row is one query head at one new token; all query heads that share the key-value head are rows, of as many tokens as fit.
// Every row takes the same steps in the same order whatever the others are: its result depends neither on the batch nor on how a
// prompt was cut into pieces.
// Every method here is compiled for speed at its first call: the first steps of a short rollout count too.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Kernels;

/// <summary>The shapes and settings of one attention layer's call.</summary>
internal unsafe struct AttentionCall
{
    /// <summary>Queries [batch, tokens, heads, size].</summary>
    public float* Queries;

    /// <summary>New keys [batch, tokens, key-value heads, size].</summary>
    public float* Keys;

    /// <summary>New values, likewise.</summary>
    public float* Values;

    /// <summary>Keys so far [batch, key-value heads, capacity, size]; extended in place.</summary>
    public float* KeyCache;

    /// <summary>Values so far, likewise.</summary>
    public float* ValueCache;

    /// <summary>Length of each sequence after this call, minus 1.</summary>
    public int* LastPositions;

    /// <summary>Rotary tables [positions, size / 2].</summary>
    public float* Cosines, Sines;

    /// <summary>The result [batch, tokens, heads, size].</summary>
    public float* Output;

    /// <summary>Sequences.</summary>
    public int Batch;

    /// <summary>New tokens of each.</summary>
    public int Tokens;

    /// <summary>Query heads.</summary>
    public int Heads;

    /// <summary>Key-value heads.</summary>
    public int KeyValueHeads;

    /// <summary>Positions a cache row holds.</summary>
    public int Capacity;

    /// <summary>Size of a head, a multiple of 16.</summary>
    public int Size;

    /// <summary>What scores are multiplied with.</summary>
    public float Scale;

    /// <summary>How many positions a token sees, its own included; not positive for all.</summary>
    public int Window;
}

/// <summary>Grouped-query attention in fp32.</summary>
internal static unsafe class AttentionKernel
{
    private const int Lanes = 16, Half = Lanes / 2, Strip = LinearKernel.Strip;
    private const int MostRows = 64;           // of queries computed together
    private const int StackFloats = 48 * 1024; // scores beyond this go to the heap

    /// <summary>Computes one sequence's heads that share a key-value head. Needs about 250 KiB of stack.</summary>
    /// <param name="call">The call; its lengths are checked.</param>
    /// <param name="sequence">Index of the sequence.</param>
    /// <param name="head">Index of the key-value head.</param>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Attend(in AttentionCall call, int sequence, int head)
    {
        var length = call.LastPositions[sequence] + 1;
        var cache = ((nint)sequence * call.KeyValueHeads + head) * call.Capacity * call.Size;
        float* keys = call.KeyCache + cache, values = call.ValueCache + cache;
        Append(call, sequence, head, length - call.Tokens, keys, values);

        var shared = call.Heads / call.KeyValueHeads;
        var stride = (length + Lanes - 1) / Lanes * Lanes;
        var atOnce = Math.Min(MostRows, call.Tokens * shared);
        var needed = (long)atOnce * (stride + call.Size) + Lanes;
        var onHeap = needed > StackFloats ? (float*)NativeMemory.Alloc((nuint)needed, sizeof(float)) : null;
        var onStack = stackalloc float[onHeap is null ? (int)needed : 1];
        var queries = (float*)(((nuint)(onHeap is null ? onStack : onHeap) + 63) & ~(nuint)63);
        var scores = queries + atOnce * call.Size;
        for (var first = 0; first < call.Tokens * shared; first += atOnce)
            Attend(call, sequence, head, (first, Math.Min(first + atOnce, call.Tokens * shared)), queries, scores, stride);
        NativeMemory.Free(onHeap);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend(in AttentionCall call, int sequence, int head, (int From, int To) range, float* queries, float* scores, int stride)
    {
        int shared = call.Heads / call.KeyValueHeads, past = call.LastPositions[sequence] + 1 - call.Tokens, size = call.Size;
        var cache = ((nint)sequence * call.KeyValueHeads + head) * call.Capacity * size;
        for (var row = range.From; row < range.To; row++)
            Rotate(call, Place(call, call.Queries, call.Heads, sequence, row / shared, head * shared + row % shared), past + row / shared, call.Scale, queries + (row - range.From) * size);

        // Positions that any of the rows sees, widened to whole vectors at both ends; what the last strip reads beyond the length is masked.
        int last = past + (range.To - 1) / shared, begin = FirstSeen(call, past + range.From / shared) / Lanes * Lanes;
        var end = Math.Min(call.Capacity, (last + Strip) / Strip * Strip);
        LinearKernel.Multiply(queries, range.To - range.From, call.KeyCache + cache, stride, size, begin, Math.Min(end, stride), scores);
        for (var row = range.From; row < range.To; row += 2)
        {
            var weights = scores + (nint)(row - range.From) * stride;
            var position = past + row / shared;
            var sum = Softmax(weights, begin, FirstSeen(call, position), position, last);
            var two = row + 1 < range.To;
            var other = two ? past + (row + 1) / shared : position;
            var otherSum = two ? Softmax(weights + stride, begin, FirstSeen(call, other), other, last) : 1;
            WeighValues(
                call.ValueCache + cache, size, begin, last, weights, two ? weights + stride : weights, 1 / sum, 1 / otherSum,
                Place(call, call.Output, call.Heads, sequence, row / shared, head * shared + row % shared),
                two ? Place(call, call.Output, call.Heads, sequence, (row + 1) / shared, head * shared + (row + 1) % shared) : null);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Append(in AttentionCall call, int sequence, int head, int past, float* keys, float* values)
    {
        for (var token = 0; token < call.Tokens; token++)
        {
            Rotate(call, Place(call, call.Keys, call.KeyValueHeads, sequence, token, head), past + token, 1, keys + (nint)(past + token) * call.Size);
            new Span<float>(Place(call, call.Values, call.KeyValueHeads, sequence, token, head), call.Size).CopyTo(new Span<float>(values + (nint)(past + token) * call.Size, call.Size));
        }
    }

    private static int FirstSeen(in AttentionCall call, int position) => call.Window > 0 ? Math.Max(0, position + 1 - call.Window) : 0;

    private static float* Place(in AttentionCall call, float* all, int heads, int sequence, int token, int head) => all + (((nint)sequence * call.Tokens + token) * heads + head) * call.Size;

    // Element i and element i + size/2 are turned by the position's i-th angle.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rotate(in AttentionCall call, float* x, int position, float scale, float* result)
    {
        var half = call.Size / 2;
        float* cosines = call.Cosines + (nint)position * half, sines = call.Sines + (nint)position * half;
        var factor = Vector256.Create(scale);
        for (var i = 0; i < half; i += Half)
        {
            Vector256<float> a = Vector256.Load(x + i), b = Vector256.Load(x + half + i), cosine = Vector256.Load(cosines + i), sine = Vector256.Load(sines + i);
            ((a * cosine - b * sine) * factor).Store(result + i);
            ((b * cosine + a * sine) * factor).Store(result + half + i);
        }
    }

    // Scores become exp(score - largest) where they are seen and 0 elsewhere, over whole vectors from begin; returns their sum.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Softmax(float* scores, int begin, int from, int position, int last)
    {
        for (var i = begin; i < from; i++) scores[i] = float.NegativeInfinity;
        var end = (last + Lanes) / Lanes * Lanes;
        for (var i = position + 1; i < end; i++) scores[i] = float.NegativeInfinity;
        var largest = Vector512.Create(float.NegativeInfinity);
        for (var i = begin; i < end; i += Lanes) largest = Vector512.Max(largest, Vector512.Load(scores + i));
        var most = float.NegativeInfinity;
        for (var lane = 0; lane < Lanes; lane++) most = MathF.Max(most, largest[lane]);
        var (shift, sum) = (Vector512.Create(most), Vector512<float>.Zero);
        for (var i = begin; i < end; i += Lanes)
        {
            var weight = Vector512.Exp(Vector512.Load(scores + i) - shift);
            weight.Store(scores + i);
            sum += weight;
        }
        return Vector512.Sum(sum);
    }

    // Two rows at a time, so that a value that was loaded serves both.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WeighValues(float* values, int size, int begin, int last, float* first, float* second, float firstFactor, float secondFactor, float* firstResult, float* secondResult)
    {
        for (var column = 0; column < size; column += 4 * Lanes)
        {
            var vectors = Math.Min(4, (size - column) / Lanes);
            Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            var value = values + (nint)begin * size + column;
            for (var position = begin; position <= last; position++, value += size)
            {
                Vector512<float> a = Vector512.Create(first[position]), b = Vector512.Create(second[position]), v = Vector512.Load(value);
                (a0, b0) = (Vector512.FusedMultiplyAdd(a, v, a0), Vector512.FusedMultiplyAdd(b, v, b0));
                if (vectors == 1) continue;
                v = Vector512.Load(value + Lanes);
                (a1, b1) = (Vector512.FusedMultiplyAdd(a, v, a1), Vector512.FusedMultiplyAdd(b, v, b1));
                if (vectors == 2) continue;
                v = Vector512.Load(value + 2 * Lanes);
                (a2, b2) = (Vector512.FusedMultiplyAdd(a, v, a2), Vector512.FusedMultiplyAdd(b, v, b2));
                if (vectors == 3) continue;
                v = Vector512.Load(value + 3 * Lanes);
                (a3, b3) = (Vector512.FusedMultiplyAdd(a, v, a3), Vector512.FusedMultiplyAdd(b, v, b3));
            }
            Store(firstResult + column, vectors, firstFactor, a0, a1, a2, a3);
            if (secondResult is not null) Store(secondResult + column, vectors, secondFactor, b0, b1, b2, b3);
        }
    }

    private static void Store(float* result, int vectors, float factor, Vector512<float> v0, Vector512<float> v1, Vector512<float> v2, Vector512<float> v3)
    {
        (v0 * factor).Store(result);
        if (vectors > 1) (v1 * factor).Store(result + Lanes);
        if (vectors > 2) (v2 * factor).Store(result + 2 * Lanes);
        if (vectors > 3) (v3 * factor).Store(result + 3 * Lanes);
    }
}
