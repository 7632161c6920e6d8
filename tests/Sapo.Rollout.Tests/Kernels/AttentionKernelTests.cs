// Attention held to its definition in double, and to itself however a sequence is cut and whatever stands beside it.
using Microsoft.ML.OnnxRuntime;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Sync.Onnx;

namespace Sapo.Rollout.Tests.Kernels;

public sealed unsafe class AttentionKernelTests
{
    // Queries, keys and values lie within 1/2; results are means of values. Scores of up to a few units round to about 1e-6, and so do their exponentials.
    private const double Tolerance = 5e-6;

    [Theory]
    [InlineData(1, 1, 16, 1, 1, -1, false)]
    [InlineData(4, 2, 32, 21, 1, -1, true)]
    [InlineData(4, 2, 32, 21, 21, -1, false)]
    [InlineData(12, 4, 64, 70, 9, -1, true)]
    [InlineData(6, 1, 48, 40, 40, 7, false)]
    [InlineData(2, 2, 80, 50, 1, 20, true)]
    [InlineData(8, 1, 128, 33, 17, 1, false)]
    [InlineData(3, 3, 144, 19, 19, 100, true)]
    [InlineData(2, 1, 32, 9001, 1, -1, false)]
    public void Attend_AnyShape_IsTheDefinition(int heads, int keyValueHeads, int size, int length, int tokens, int window, bool normed)
    {
        using var layer = new Layer(heads, keyValueHeads, size, window, capacity: length + 3, batch: 1, normed);
        if (tokens < length) layer.Run(0, length - tokens, length - tokens);
        var found = layer.Run(0, length, tokens);
        for (var token = length - tokens; token < length; token++)
        {
            for (var head = 0; head < heads; head++)
            {
                var expected = layer.Expected(0, token, head);
                for (var i = 0; i < size; i++) Assert.Equal(expected[i], found[((token - length + tokens) * heads + head) * size + i], Tolerance);
            }
        }
    }

    [Theory]
    [InlineData(4, 2, 32, -1), InlineData(3, 1, 64, -1), InlineData(4, 2, 32, 9), InlineData(2, 1, 48, 20)]
    public void Attend_ASequenceInPieces_GivesTheSameBitsAsAtOnce(int heads, int keyValueHeads, int size, int window)
    {
        const int Length = 75;
        using var layer = new Layer(heads, keyValueHeads, size, window, capacity: Length, batch: 1);
        var whole = layer.Run(0, Length, Length);
        foreach (var piece in new[] { 1, 2, 7, 32 })
        {
            layer.Forget();
            var pieces = new List<float>();
            for (var from = 0; from < Length; from += piece) pieces.AddRange(layer.Run(0, Math.Min(Length, from + piece), Math.Min(piece, Length - from)));
            Assert.Equal(whole, pieces);
        }
    }

    [Fact]
    public void Attend_PlacesBehindTheLength_AreNeverSeen()
    {
        using Layer clean = new(4, 2, 32, -1, capacity: 64, batch: 1), dirty = new(4, 2, 32, -1, capacity: 64, batch: 1);
        clean.Forget(0);
        dirty.Forget(float.NaN);
        Assert.Equal(clean.Run(0, 21, 21), dirty.Run(0, 21, 21));
        Assert.Equal(clean.Run(0, 22, 1), dirty.Run(0, 22, 1));
    }

    [Fact]
    public void Attend_NaNInAQuery_IsSeenInItsRowsAlone()
    {
        using var layer = new Layer(4, 2, 32, -1, capacity: 16, batch: 1);
        layer.Queries.Span[(5 * 4 + 1) * 32] = float.NaN; // token 5, head 1
        var found = layer.Run(0, 9, 9);
        for (var row = 0; row < 9 * 4; row++) Assert.Equal(row == 5 * 4 + 1, Array.Exists(found[(row * 32)..((row + 1) * 32)], float.IsNaN));
    }

    [Theory]
    [InlineData(-1, 40), InlineData(-1, 16), InlineData(-1, 64), InlineData(-1, 3), InlineData(9, 40), InlineData(30, 40)]
    public void Attend_KeysAndValuesReadInAnotherPlace_GiveTheSameBits(int window, int shared)
    {
        const int Length = 70;
        using var layer = new Layer(4, 2, 32, window, capacity: 80, batch: 2);
        layer.Run(0, Length - 1, Length - 1);
        layer.CopyRow(0, 1);
        var own = layer.Run(0, Length, 1);
        layer.SpoilBlocks(0, shared); // whole blocks of these are not read in its own place
        Assert.Equal(own, layer.Run(0, Length, 1, sharedWith: 1, shared));
    }

    [Theory]
    [InlineData(1, false), InlineData(3, false), InlineData(1, true), InlineData(3, true)]
    public void Attention_InAGraph_IsTheKernelAndExtendsTheCaches(int threads, bool normed)
    {
        const int Batch = 5, Heads = 4, KeyValueHeads = 2, Size = 32, Capacity = 48;
        int[] lengths = [1, 7, 30, 12, 40];
        using var layer = new Layer(Heads, KeyValueHeads, Size, -1, Capacity, Batch, normed);
        for (var i = 0; i < Batch; i++)
            if (lengths[i] > 1) layer.Run(i, lengths[i] - 1, lengths[i] - 1);
        var past = (Keys: layer.KeyCache.Span.ToArray(), Values: layer.ValueCache.Span.ToArray());
        var expected = Enumerable.Range(0, Batch).SelectMany(i => layer.Run(i, lengths[i], 1)).ToArray();
        var found = Run(threads, layer, lengths, past.Keys, past.Values);
        Assert.Equal(expected, found.Result);
        Assert.Equal(layer.KeyCache.Span.ToArray(), found.Keys);
        Assert.Equal(layer.ValueCache.Span.ToArray(), found.Values);
    }

    [Theory]
    [InlineData(1), InlineData(3)]
    public void Attention_RowsThatShareAPrompt_GiveTheSameBitsAsEachByItself(int threads)
    {
        const int Batch = 7;
        int[] lengths = [40, 21, 33, 21, 36, 38, 22], sharedWith = [2, 2, 0, 0, -1, -3, 0], sharedLengths = [20, 20, 0, 0, 20, 20, 0]; // 0, 2 and 5 read in 2's place, 1, 3 and 4 in 3's
        using var layer = new Layer(4, 2, 32, -1, capacity: 48, Batch);
        layer.Run(0, 20, 20);
        for (var i = 1; i < Batch; i++) layer.CopyRow(0, i);
        for (var i = 0; i < Batch; i++)
            if (lengths[i] > 21) layer.Run(i, lengths[i] - 1, lengths[i] - 21);
        float[] keys = layer.KeyCache.Span.ToArray(), values = layer.ValueCache.Span.ToArray();
        Assert.Equal(Run(threads, layer, lengths, keys, values).Result, Run(threads, layer, lengths, keys, values, shared: (sharedWith, sharedLengths)).Result);
    }

    [Theory]
    [InlineData(5, 1), InlineData(-1, 1), InlineData(1, 20), InlineData(1, -1)]
    public void Attention_SharingWhatIsNotThere_IsRefused(int with, int length)
    {
        using var layer = new Layer(4, 2, 32, -1, capacity: 48, batch: 5);
        var error = Assert.Throws<OnnxRuntimeException>(() => Run(
            1, layer, [20, 20, 20, 20, 20], layer.KeyCache.Span.ToArray(), layer.ValueCache.Span.ToArray(), shared: ([with, 0, 0, 0, 0], [length, 0, 0, 0, 0])));
        Assert.Contains("sapo.Attention: a sequence shares more than another one of the batch holds", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(49), InlineData(0)]
    public void Attention_LengthsThatDoNotFit_AreRefused(int length)
    {
        using var layer = new Layer(4, 2, 32, -1, capacity: 48, batch: 5);
        var error = Assert.Throws<OnnxRuntimeException>(() => Run(1, layer, [1, 1, length, 1, 1], layer.KeyCache.Span.ToArray(), layer.ValueCache.Span.ToArray()));
        Assert.Contains("sapo.Attention: a sequence's last position is not within", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("q"), InlineData("k"), InlineData("v"), InlineData("past_k"), InlineData("past_v"), InlineData("last"), InlineData("cos"), InlineData("sin")]
    [InlineData("with"), InlineData("shared"), InlineData("q_norm"), InlineData("k_norm")]
    public void Attention_AnInputThatIsTooShort_IsRefused(string name)
    {
        using var layer = new Layer(4, 2, 32, -1, capacity: 48, batch: 5, normed: true);
        var error = Assert.Throws<OnnxRuntimeException>(() => Run(1, layer, [1, 1, 1, 1, 1], layer.KeyCache.Span.ToArray(), layer.ValueCache.Span.ToArray(), cut: name));
        Assert.Contains("sapo.Attention: ", error.Message, StringComparison.Ordinal);
    }

    // One decode step: each row's newest token. One input may have half of its last dimension.
    private static (float[] Result, float[] Keys, float[] Values) Run(
        int threads, Layer layer, int[] lengths, float[] pastKeys, float[] pastValues, string? cut = null, (int[] With, int[] Lengths)? shared = null)
    {
        var (batch, heads, size) = (lengths.Length, layer.Shape.Heads, layer.Shape.Size);
        long[] caches = [batch, layer.Shape.KeyValueHeads, layer.Shape.Capacity, size], tables = [layer.Shape.Capacity, size / 2];
        float[] Newest(NativeBuffer<float> all, int count) => [.. Enumerable.Range(0, batch).SelectMany(i => all.Slice(((long)i * layer.Shape.Capacity + Math.Max(0, lengths[i] - 1) % layer.Shape.Capacity) * count * size, count * size).ToArray())];
        OrtValue Over<T>(string name, T[] numbers, params long[] shape) where T : unmanaged
        {
            if (name == cut) shape = [.. shape[..^1], shape[^1] / 2];
            return OrtValue.CreateTensorValueFromMemory(numbers[..(int)shape.Aggregate(1L, (a, b) => a * b)], shape);
        }
        (string Name, OrtValue Value)[] inputs =
        [
            ("q", Over("q", Newest(layer.Queries, heads), batch, 1, heads * size)),
            ("k", Over("k", Newest(layer.Keys, layer.Shape.KeyValueHeads), batch, 1, layer.Shape.KeyValueHeads * size)),
            ("v", Over("v", Newest(layer.Values, layer.Shape.KeyValueHeads), batch, 1, layer.Shape.KeyValueHeads * size)),
            ("past_k", Over("past_k", pastKeys, caches)),
            ("past_v", Over("past_v", pastValues, caches)),
            ("last", Over("last", lengths.Select(length => length - 1).ToArray(), batch)),
            ("total", OrtValue.CreateTensorValueFromMemory([lengths.Max()], [])),
            ("cos", Over("cos", layer.Cosines.Span.ToArray(), tables)),
            ("sin", Over("sin", layer.Sines.Span.ToArray(), tables)),
            ("with", Over("with", shared?.With ?? new int[batch], batch)),
            ("shared", Over("shared", shared?.Lengths ?? new int[batch], batch)),
        ];
        if (layer.Normed) inputs = [.. inputs, ("q_norm", Over("q_norm", layer.QueryNorm.Span.ToArray(), size)), ("k_norm", Over("k_norm", layer.KeyNorm.Span.ToArray(), size))];
        using var options = OrtPolicyModel.Options(threads, prepack: false);
        KernelOperators.Register(options, threads);
        using var session = new InferenceSession(Graph(layer.Shape.Heads, layer.Normed), options);
        using var run = new RunOptions();
        try
        {
            using var outputs = session.Run(run, [.. inputs.Select(input => input.Name)], [.. inputs.Select(input => input.Value)], ["y", "keys", "values"]);
            return (outputs[0].GetTensorDataAsSpan<float>().ToArray(), outputs[1].GetTensorDataAsSpan<float>().ToArray(), outputs[2].GetTensorDataAsSpan<float>().ToArray());
        }
        finally
        {
            foreach (var (_, value) in inputs) value.Dispose();
        }
    }

    private static byte[] Graph(int heads, bool normed)
    {
        var graph = new GraphBuilder("attention");
        Value Floats(string name, params Dimension[] shape) => graph.Input(name, ElementType.Float, shape);
        Value[] inputs =
        [
            Floats("q", "b", "s", "qw"), Floats("k", "b", "s", "kw"), Floats("v", "b", "s", "vw"), Floats("past_k", "b", "h", "m", "d"), Floats("past_v", "b", "h", "m", "e"),
            graph.Input("last", ElementType.Int32, "rows"), graph.Input("total", ElementType.Int32), Floats("cos", "positions", "half"), Floats("sin", "positions", "other"),
            graph.Input("with", ElementType.Int32, "sharing"), graph.Input("shared", ElementType.Int32, "shared"),
        ];
        if (normed) inputs = [.. inputs, Floats("q_norm", "n"), Floats("k_norm", "o")];
        graph.Node("sapo.Attention", inputs, ["y", "keys", "values"], ("num_heads", heads), ("scale", Layer.Scale), ("local_window_size", -1), ("epsilon", Layer.Epsilon));
        graph.Output("y", ElementType.Float, "b", "s", "qw");
        graph.Output("keys", ElementType.Float, "b", "h", "m", "d");
        graph.Output("values", ElementType.Float, "b", "h", "m", "d");
        return graph.WriteModel();
    }

    /// <summary>Queries, keys and values of whole sequences [batch, capacity, heads, size], and caches to run them into.</summary>
    private sealed class Layer : IDisposable
    {
        public const float Scale = 0.4f, Epsilon = 0.01f;

        private readonly int _window;

        public Layer(int heads, int keyValueHeads, int size, int window, int capacity, int batch, bool normed = false)
        {
            capacity = (capacity + AttentionKernel.Block - 1) / AttentionKernel.Block * AttentionKernel.Block;
            (Normed, QueryNorm, KeyNorm) = (normed, Numbers(size, 6), Numbers(size, 7));
            Shape = (heads, keyValueHeads, size, capacity);
            _window = window;
            Queries = Numbers(batch * capacity * heads * size, 1);
            (Keys, Values) = (Numbers(batch * capacity * keyValueHeads * size, 2), Numbers(batch * capacity * keyValueHeads * size, 3));
            (KeyCache, ValueCache) = (Numbers(batch * capacity * keyValueHeads * size, 4), Numbers(batch * capacity * keyValueHeads * size, 5));
            (Cosines, Sines) = (new(capacity * size / 2), new(capacity * size / 2));
            for (var i = 0; i < capacity * size / 2; i++) (Sines.Span[i], Cosines.Span[i]) = MathF.SinCos(i / (size / 2) / (1f + i % (size / 2)));
        }

        public (int Heads, int KeyValueHeads, int Size, int Capacity) Shape { get; }

        public bool Normed { get; }

        public NativeBuffer<float> QueryNorm { get; }

        public NativeBuffer<float> KeyNorm { get; }

        public NativeBuffer<float> Queries { get; }

        public NativeBuffer<float> Keys { get; }

        public NativeBuffer<float> Values { get; }

        public NativeBuffer<float> KeyCache { get; }

        public NativeBuffer<float> ValueCache { get; }

        public NativeBuffer<float> Cosines { get; }

        public NativeBuffer<float> Sines { get; }

        public void Forget(float left = -3)
        {
            KeyCache.Span.Fill(left);
            ValueCache.Span.Fill(left);
        }

        /// <summary>Copies keys and values of one sequence to another.</summary>
        public void CopyRow(int from, int to)
        {
            var row = Shape.KeyValueHeads * Shape.Capacity * Shape.Size;
            foreach (var cache in new[] { KeyCache, ValueCache }) cache.Slice((long)from * row, row).CopyTo(cache.Slice((long)to * row, row));
        }

        /// <summary>Makes whole blocks of the first positions unreadable.</summary>
        public void SpoilBlocks(int sequence, int positions)
        {
            var (_, keyValueHeads, size, capacity) = Shape;
            for (var head = 0; head < keyValueHeads; head++)
                foreach (var cache in new[] { KeyCache, ValueCache }) cache.Slice(((long)sequence * keyValueHeads + head) * capacity * size, positions / AttentionKernel.Block * AttentionKernel.Block * size).Fill(float.NaN);
        }

        /// <summary>Runs a sequence's newest tokens.</summary>
        public float[] Run(int sequence, int length, int tokens, int sharedWith = 0, int shared = 0)
        {
            var (heads, keyValueHeads, size, capacity) = Shape;
            var last = length - 1;
            var output = new float[tokens * heads * size];
            var first = (long)sequence * capacity + length - tokens;
            fixed (float* result = output)
            {
                var call = new AttentionCall
                {
                    Queries = Queries.Pointer + first * heads * size, Keys = Keys.Pointer + first * keyValueHeads * size, Values = Values.Pointer + first * keyValueHeads * size,
                    KeyCache = KeyCache.Pointer + (long)sequence * keyValueHeads * capacity * size, ValueCache = ValueCache.Pointer + (long)sequence * keyValueHeads * capacity * size,
                    LastPositions = &last, SharedWith = &sharedWith, SharedLengths = &shared, Cosines = Cosines.Pointer, Sines = Sines.Pointer, Output = result,
                    QueryNorm = Normed ? QueryNorm.Pointer : null, KeyNorm = Normed ? KeyNorm.Pointer : null, Epsilon = Epsilon,
                    Batch = 1, Tokens = tokens, Heads = heads, KeyValueHeads = keyValueHeads, Capacity = capacity, Size = size, Scale = Scale, Window = _window,
                };
                for (var head = 0; head < keyValueHeads; head++) AttentionKernel.Attend(call, 0, head, next: (0, 0));
            }
            return output;
        }

        /// <summary>softmax(scale * rotated q · rotated k) v, in double.</summary>
        public double[] Expected(int sequence, int token, int head)
        {
            var (heads, keyValueHeads, size, capacity) = Shape;
            var shared = head / (heads / keyValueHeads);
            var query = Rotated(Queries, heads, sequence, token, head, QueryNorm);
            var from = _window > 0 ? Math.Max(0, token + 1 - _window) : 0;
            var weights = new double[token + 1];
            for (var position = from; position <= token; position++) weights[position] = Math.Exp(Scale * query.Zip(Rotated(Keys, keyValueHeads, sequence, position, shared, KeyNorm), (q, k) => q * k).Sum());
            var result = new double[size];
            for (var position = from; position <= token; position++)
                for (var i = 0; i < size; i++) result[i] += weights[position] / weights.Sum() * Values.Span[((sequence * capacity + position) * keyValueHeads + shared) * size + i];
            return result;
        }

        public void Dispose()
        {
            foreach (var buffer in new[] { QueryNorm, KeyNorm, Queries, Keys, Values, KeyCache, ValueCache, Cosines, Sines }) buffer.Dispose();
        }

        private double[] Rotated(NativeBuffer<float> all, int heads, int sequence, int token, int head, NativeBuffer<float> norm)
        {
            var (size, half) = (Shape.Size, Shape.Size / 2);
            var x = all.Slice(((long)sequence * Shape.Capacity + token) * heads * size + head * size, size).ToArray().Select(element => (double)element).ToArray();
            var root = Math.Sqrt(x.Sum(element => element * element) / size + Epsilon);
            if (Normed) x = [.. x.Select((element, i) => element / root * norm.Span[i])];
            return [.. Enumerable.Range(0, size).Select(i => x[i] * Cosines.Span[token * half + i % half] + (i < half ? -x[i + half] : x[i - half]) * (double)Sines.Span[token * half + i % half])];
        }

        private static NativeBuffer<float> Numbers(int count, int seed)
        {
            var numbers = new NativeBuffer<float>(count);
            for (var i = 0; i < count; i++) numbers.Span[i] = CounterRandom.Uniform(seed, 0, 0, i) - 0.5f;
            return numbers;
        }
    }
}
