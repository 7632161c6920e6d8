// Causal attention of one sequence and one key-value head, over a cache that it extends in place:
//
//   new keys ──norm, rotate──> key cache: blocks of 16 positions, [size][16]       new values ──> value cache: [positions][size]
//   queries ──norm, rotate, scale──> [size] ──times 16 positions of a block at once──> scores [positions]
//   scores ──mask, softmax──> weights ──times the values──> [size]
//
// Both products are sums of vectors, each times a number: over a head's elements for scores, over positions for the result.
// They go through one loop, for four queries at a time, so that a vector that was loaded serves all of them. While it computes scores
// it fetches the values, and while it weighs values the keys of what is computed next: a decode step waits for memory otherwise.
// Sequences that began as copies of one prompt read its keys and values from one of them, while they are in the processor's cache.
// Every query takes the same steps in the same order whatever the others are: its result depends neither on the batch, nor on how
// a prompt was cut into pieces, nor on whose copy was read.
// Every method here is compiled for speed at its first call: the first steps of a short rollout count too.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

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

    /// <summary>Weights [size] of the norm that queries and keys go through before they are rotated; null where there is none.</summary>
    public float* QueryNorm, KeyNorm;

    /// <summary>Keys so far [batch, key-value heads, capacity / 16, size, 16]; extended in place.</summary>
    public float* KeyCache;

    /// <summary>Values so far [batch, key-value heads, capacity, size]; extended in place.</summary>
    public float* ValueCache;

    /// <summary>Length of each sequence after this call, minus 1.</summary>
    public int* LastPositions;

    /// <summary>Which sequence holds the same keys and values at the first positions: how many further on in the batch, 0 for none.</summary>
    public int* SharedWith;

    /// <summary>How many positions those are; none of them is new in either sequence.</summary>
    public int* SharedLengths;

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

    /// <summary>Positions a cache row holds, a multiple of 16.</summary>
    public int Capacity;

    /// <summary>Size of a head, a multiple of 16.</summary>
    public int Size;

    /// <summary>What scores are multiplied with.</summary>
    public float Scale;

    /// <summary>Added to the mean square in the norms.</summary>
    public float Epsilon;

    /// <summary>How many positions a token sees, its own included; not positive for all.</summary>
    public int Window;
}

/// <summary>Grouped-query attention in fp32.</summary>
internal static unsafe class AttentionKernel
{
    /// <summary>Positions of a block of the key cache.</summary>
    public const int Block = Lanes;

    private const int Lanes = 16, Half = Lanes / 2, VectorsAtOnce = 4, RowsAtOnce = 4;
    private const int StackFloats = 16 * 1024; // scores beyond this go to the heap

    /// <summary>Computes one sequence's heads that share a key-value head. Needs about 70 KiB of stack.</summary>
    /// <param name="call">The call; its lengths are checked.</param>
    /// <param name="sequence">Index of the sequence.</param>
    /// <param name="head">Index of the key-value head.</param>
    /// <param name="next">What this thread computes next, whose keys are fetched; anything of the call.</param>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Attend(in AttentionCall call, int sequence, int head, (int Sequence, int Head) next)
    {
        var length = call.LastPositions[sequence] + 1;
        var stride = (length + Lanes - 1) / Lanes * Lanes;
        var needed = RowsAtOnce * (2 * call.Size + stride) + Lanes;
        var onHeap = needed > StackFloats ? (float*)NativeMemory.Alloc((nuint)needed, sizeof(float)) : null;
        var onStack = stackalloc float[onHeap is null ? needed : 1];
        var queries = (float*)(((nuint)(onHeap is null ? onStack : onHeap) + 63) & ~(nuint)63);
        var work = new Rows { Queries = queries, Results = queries + RowsAtOnce * call.Size, Scores = queries + 2 * RowsAtOnce * call.Size, Stride = stride };
        Cache cache = CacheOf(call, sequence, head), following = CacheOf(call, next.Sequence, next.Head);
        Append(call, sequence, head, cache, queries);
        var rows = call.Tokens * (call.Heads / call.KeyValueHeads);
        for (var row = 0; row < rows; row += RowsAtOnce)
        {
            work.Count = Math.Min(RowsAtOnce, rows - row);
            var last = row + work.Count == rows;
            Attend(call, sequence, head, row, cache, work, last ? following.Keys + (nint)following.Shared * call.Size : null);
        }
        NativeMemory.Free(onHeap);
    }

    // Up to four queries.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend(in AttentionCall call, int sequence, int head, int row, in Cache cache, in Rows work, float* nextKeys)
    {
        int shared = call.Heads / call.KeyValueHeads, size = call.Size, past = call.LastPositions[sequence] + 1 - call.Tokens;
        for (var i = 0; i < work.Count; i++)
            Turn(call, Place(call, call.Queries, call.Heads, sequence, (row + i) / shared, head * shared + (row + i) % shared), call.QueryNorm, past + (row + i) / shared, call.Scale, work.Queries + i * size);

        // Positions that any of them sees, widened to whole blocks; what a block holds beyond a query's own position is masked.
        int last = past + (row + work.Count - 1) / shared, begin = FirstSeen(call, past + row / shared) / Block * Block, end = (last + Block) / Block * Block;
        var middle = Math.Clamp(cache.Shared, begin, end);
        var ahead = row == 0 ? cache.Values + (nint)middle * size : null;
        Score(cache.SharedKeys, size, begin, middle, work, ref ahead);
        Score(cache.Keys, size, middle, end, work, ref ahead);
        var factors = stackalloc float[RowsAtOnce];
        for (var i = 0; i < work.Count; i++)
        {
            var position = past + (row + i) / shared;
            factors[i] = 1 / Softmax(work.Scores + (nint)i * work.Stride, begin, FirstSeen(call, position), position, end);
        }
        middle = Math.Min(middle, last + 1);
        for (var column = 0; column < size; column += VectorsAtOnce * Lanes)
        {
            var vectors = Math.Min(VectorsAtOnce, (size - column) / Lanes);
            Sum(cache.SharedValues + (nint)begin * size + column, size, Lanes, middle - begin, work.Scores + begin, work.Stride, work.Count, vectors, add: false, work.Results + column, size, ref nextKeys);
            Sum(cache.Values + (nint)middle * size + column, size, Lanes, last + 1 - middle, work.Scores + middle, work.Stride, work.Count, vectors, add: true, work.Results + column, size, ref nextKeys);
        }
        for (var i = 0; i < work.Count; i++)
            VectorMath.Multiply(work.Results + i * size, size, factors[i], Place(call, call.Output, call.Heads, sequence, (row + i) / shared, head * shared + (row + i) % shared));
    }

    private static Cache CacheOf(in AttentionCall call, int sequence, int head)
    {
        var row = (nint)call.KeyValueHeads * call.Capacity * call.Size;
        var own = sequence * row + (nint)head * call.Capacity * call.Size;
        var source = own + call.SharedWith[sequence] * row;
        return new Cache
        {
            Keys = call.KeyCache + own, Values = call.ValueCache + own, SharedKeys = call.KeyCache + source, SharedValues = call.ValueCache + source,
            Shared = call.SharedWith[sequence] == 0 ? 0 : call.SharedLengths[sequence] / Block * Block,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Append(in AttentionCall call, int sequence, int head, in Cache cache, float* key)
    {
        var past = call.LastPositions[sequence] + 1 - call.Tokens;
        for (var token = 0; token < call.Tokens; token++)
        {
            var position = past + token;
            Turn(call, Place(call, call.Keys, call.KeyValueHeads, sequence, token, head), call.KeyNorm, position, 1, key);
            var places = cache.Keys + (nint)(position / Block) * Block * call.Size + position % Block;
            for (var i = 0; i < call.Size; i++) places[i * Block] = key[i];
            new Span<float>(Place(call, call.Values, call.KeyValueHeads, sequence, token, head), call.Size).CopyTo(new Span<float>(cache.Values + (nint)position * call.Size, call.Size));
        }
    }

    private static int FirstSeen(in AttentionCall call, int position) => call.Window > 0 ? Math.Max(0, position + 1 - call.Window) : 0;

    private static float* Place(in AttentionCall call, float* all, int heads, int sequence, int token, int head) => all + (((nint)sequence * call.Tokens + token) * heads + head) * call.Size;

    // Norm, rotation and scale: element i and element i + size/2 are turned by the position's i-th angle.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(in AttentionCall call, float* x, float* norm, int position, float scale, float* result)
    {
        if (norm is not null)
        {
            VectorMath.Normalize(x, norm, call.Size, call.Epsilon, result);
            x = result;
        }
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

    // Scores of whole blocks.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score(float* keys, int size, int from, int to, in Rows work, ref float* ahead)
    {
        for (var position = from; position < to; position += VectorsAtOnce * Block)
        {
            var blocks = Math.Min(VectorsAtOnce, (to - position) / Block);
            Sum(keys + (nint)position * size, Block, (nint)Block * size, size, work.Queries, size, work.Count, blocks, add: false, work.Scores + position, work.Stride, ref ahead);
        }
    }

    // Scores become exp(score - largest) where they are seen and 0 elsewhere, over whole blocks; returns their sum.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Softmax(float* scores, int begin, int from, int position, int end)
    {
        var (first, last) = (Vector512.Create(from), Vector512.Create(position));
        var largest = Vector512.Create(float.NegativeInfinity);
        for (var i = begin; i < end; i += Lanes)
        {
            var place = Vector512<int>.Indices + Vector512.Create(i);
            var seen = Vector512.GreaterThanOrEqual(place, first) & Vector512.LessThanOrEqual(place, last);
            var score = Vector512.ConditionalSelect(seen.AsSingle(), Vector512.Load(scores + i), Vector512.Create(float.NegativeInfinity));
            score.Store(scores + i);
            largest = Vector512.MaxNative(largest, score); // a NaN that is passed over here makes the sum NaN
        }
        var (shift, sum) = (Vector512.Create(VectorMath.Largest(largest)), Vector512<float>.Zero);
        for (var i = begin; i < end; i += Lanes)
        {
            var weight = VectorMath.Exp(Vector512.Load(scores + i) - shift);
            weight.Store(scores + i);
            sum += weight;
        }
        return Vector512.Sum(sum);
    }

    // results[row][16 v + lane] (+)= sum over i of weights[row][i] * m[i * step + v * gap + lane], for up to 4 rows and 4 vectors.
    // Beside each i the next two lines at ahead are fetched, unless it is null.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Sum(float* m, nint step, nint gap, int count, float* weights, int weightStride, int rows, int vectors, bool add, float* results, int resultStride, ref float* ahead)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
        if (add)
        {
            Load(results, vectors, ref a0, ref a1, ref a2, ref a3);
            if (rows > 1) Load(results + resultStride, vectors, ref b0, ref b1, ref b2, ref b3);
            if (rows > 2) Load(results + 2 * resultStride, vectors, ref c0, ref c1, ref c2, ref c3);
            if (rows > 3) Load(results + 3 * resultStride, vectors, ref d0, ref d1, ref d2, ref d3);
        }
        float* second = weights + (rows > 1 ? weightStride : 0), third = weights + (rows > 2 ? 2 * weightStride : 0), fourth = weights + (rows > 3 ? 3 * weightStride : 0);
        var fetched = ahead;
        for (var i = 0; i < count; i++, m += step)
        {
            if (fetched is not null)
            {
                Sse.Prefetch0(fetched);
                Sse.Prefetch0(fetched + Lanes);
                fetched += 2 * Lanes;
            }
            Vector512<float> a = Vector512.Create(weights[i]), b = Vector512.Create(second[i]), c = Vector512.Create(third[i]), d = Vector512.Create(fourth[i]), v = Vector512.Load(m);
            (a0, b0) = (Vector512.FusedMultiplyAdd(a, v, a0), Vector512.FusedMultiplyAdd(b, v, b0));
            if (rows > 2) (c0, d0) = (Vector512.FusedMultiplyAdd(c, v, c0), Vector512.FusedMultiplyAdd(d, v, d0));
            if (vectors == 1) continue;
            v = Vector512.Load(m + gap);
            (a1, b1) = (Vector512.FusedMultiplyAdd(a, v, a1), Vector512.FusedMultiplyAdd(b, v, b1));
            if (rows > 2) (c1, d1) = (Vector512.FusedMultiplyAdd(c, v, c1), Vector512.FusedMultiplyAdd(d, v, d1));
            if (vectors == 2) continue;
            v = Vector512.Load(m + 2 * gap);
            (a2, b2) = (Vector512.FusedMultiplyAdd(a, v, a2), Vector512.FusedMultiplyAdd(b, v, b2));
            if (rows > 2) (c2, d2) = (Vector512.FusedMultiplyAdd(c, v, c2), Vector512.FusedMultiplyAdd(d, v, d2));
            if (vectors == 3) continue;
            v = Vector512.Load(m + 3 * gap);
            (a3, b3) = (Vector512.FusedMultiplyAdd(a, v, a3), Vector512.FusedMultiplyAdd(b, v, b3));
            if (rows > 2) (c3, d3) = (Vector512.FusedMultiplyAdd(c, v, c3), Vector512.FusedMultiplyAdd(d, v, d3));
        }
        ahead = fetched;
        Store(results, vectors, a0, a1, a2, a3);
        if (rows > 1) Store(results + resultStride, vectors, b0, b1, b2, b3);
        if (rows > 2) Store(results + 2 * resultStride, vectors, c0, c1, c2, c3);
        if (rows > 3) Store(results + 3 * resultStride, vectors, d0, d1, d2, d3);
    }

    private static void Load(float* results, int vectors, ref Vector512<float> v0, ref Vector512<float> v1, ref Vector512<float> v2, ref Vector512<float> v3)
    {
        v0 = Vector512.Load(results);
        if (vectors > 1) v1 = Vector512.Load(results + Lanes);
        if (vectors > 2) v2 = Vector512.Load(results + 2 * Lanes);
        if (vectors > 3) v3 = Vector512.Load(results + 3 * Lanes);
    }

    private static void Store(float* results, int vectors, Vector512<float> v0, Vector512<float> v1, Vector512<float> v2, Vector512<float> v3)
    {
        v0.Store(results);
        if (vectors > 1) v1.Store(results + Lanes);
        if (vectors > 2) v2.Store(results + 2 * Lanes);
        if (vectors > 3) v3.Store(results + 3 * Lanes);
    }

    // Where one key-value head's keys and values lie; those of the first positions may be read in another sequence's place.
    private struct Cache
    {
        public float* Keys, Values, SharedKeys, SharedValues;
        public int Shared;
    }

    // What up to four queries are computed in: [4][size], [4][size] and [4][stride].
    private struct Rows
    {
        public float* Queries, Results, Scores;
        public int Stride, Count;
    }
}
