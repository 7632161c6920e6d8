using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Sapo.Rollout.Kernels;

namespace Sapo.Parity.Graph;

/// <summary>Runs a decode graph, or its head alone, with ONNX Runtime; caches are shared between past and present as an engine does.</summary>
internal sealed class GraphSession : IDisposable
{
    private const string Past = "past_key_values.", Present = "present.";

    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private readonly Dictionary<string, OrtValue> _caches = new(StringComparer.Ordinal);

    /// <summary>A decode graph in a published folder, with caches for so many rows and positions.</summary>
    public GraphSession(string path, int rows, int capacity)
    {
        using var options = SingleThread();
        _session = new InferenceSession(path, options);
        Rows = rows;
        foreach (var (name, metadata) in _session.InputMetadata)
            if (name.StartsWith(Past, StringComparison.Ordinal))
                _caches.Add(name, OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, TensorElementType.Float, [rows, metadata.Dimensions[1], capacity, metadata.Dimensions[3]]));
    }

    /// <summary>A graph without caches and external weights; it may hold operators of our own.</summary>
    public GraphSession(byte[] model)
    {
        using var options = SingleThread();
        KernelOperators.Register(options, threads: 1);
        _session = new InferenceSession(model, options);
    }

    public int Rows { get; }

    /// <summary>One call with the same number of new tokens per row, right-padded.</summary>
    /// <param name="ids">New tokens per row.</param>
    /// <param name="lengths">Valid positions per row after the call.</param>
    /// <param name="newTokens">How many of the row's new tokens are real.</param>
    /// <param name="draws">How each row's token is drawn.</param>
    public Sampled Decode(long[][] ids, int[] lengths, int[] newTokens, Draws draws) => Run(
        [
            ("input_ids", Tensor(ids.SelectMany(row => row).ToArray(), Rows, ids[0].Length)),
            ("seqlens_k", Tensor(lengths.Select(length => length - 1).ToArray(), Rows)),
            ("total_sequence_length", Tensor([lengths.Max()])),
            ("last_index", Tensor(newTokens.Select(count => count - 1L).ToArray(), Rows)),
            .. draws.Inputs(),
        ]);

    /// <summary>One call of a head graph.</summary>
    /// <param name="logits">[rows, vocabulary], row-major.</param>
    /// <param name="draws">How each row's token is drawn.</param>
    public Sampled Sample(float[] logits, Draws draws) => Run([("logits", Tensor(logits, draws.Rows, logits.Length / draws.Rows)), .. draws.Inputs()]);

    /// <summary>One sequence through a graph of GenAI's conventions: the logits of every position.</summary>
    public float[][] Logits(long[] ids) => Run(
        [("input_ids", Tensor(ids, 1, ids.Length)), ("attention_mask", Tensor(Enumerable.Repeat(1L, ids.Length).ToArray(), 1, ids.Length))],
        outputs => outputs["logits"].GetTensorDataAsSpan<float>().ToArray().Chunk((int)outputs["logits"].GetTensorTypeAndShape().Shape[2]).ToArray());

    public static OrtValue Tensor<T>(T[] values, params long[] shape) where T : unmanaged => OrtValue.CreateTensorValueFromMemory(values, shape);

    public void Dispose()
    {
        foreach (var cache in _caches.Values) cache.Dispose();
        _run.Dispose();
        _session.Dispose();
    }

    private Sampled Run(IReadOnlyList<(string Name, OrtValue Value)> inputs) => Run(inputs, Sampled.Read);

    private T Run<T>(IReadOnlyList<(string Name, OrtValue Value)> inputs, Func<IReadOnlyDictionary<string, OrtValue>, T> read)
    {
        using var io = _session.CreateIoBinding();
        try
        {
            foreach (var (name, value) in inputs) io.BindInput(name, value);
            foreach (var (name, cache) in _caches) io.BindInput(name, cache);
            foreach (var name in _session.OutputNames)
                if (_caches.TryGetValue(name.Replace(Present, Past, StringComparison.Ordinal), out var cache)) io.BindOutput(name, cache);
                else io.BindOutputToDevice(name, OrtMemoryInfo.DefaultInstance);
            _session.RunWithBinding(_run, io);
            using var outputs = io.GetOutputValues();
            return read(_session.OutputNames.Zip(outputs).ToDictionary(pair => pair.First, pair => pair.Second, StringComparer.Ordinal));
        }
        finally
        {
            foreach (var (_, value) in inputs) value.Dispose();
        }
    }

    private static SessionOptions SingleThread() => new() { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
}

/// <summary>What each row's draw depends on.</summary>
internal sealed record Draws(float[] Uniform, float[] Temperature, long[] TopK, float[] TopP, float[] MinP, long[] Forced, bool Truncate)
{
    /// <summary>Kept ids a row lists where a test does not say.</summary>
    public const long DefaultKeptLimit = 512;

    public int Rows => Uniform.Length;

    public bool[] MinPFirst { get; init; } = new bool[Uniform.Length];

    public long KeptLimit { get; init; } = DefaultKeptLimit;

    public float[] Repetition { get; init; } = Repeat(1f, Uniform.Length);

    public float[] Frequency { get; init; } = new float[Uniform.Length];

    public float[] Presence { get; init; } = new float[Uniform.Length];

    /// <summary>Prompt and output per row.</summary>
    public long[][] History { get; init; } = Repeat(Array.Empty<long>(), Uniform.Length);

    public long[] PromptLength { get; init; } = new long[Uniform.Length];

    public long[] Alternatives { get; init; } = new long[Uniform.Length];

    /// <summary>Rows that sample from the whole distribution with u = 0.</summary>
    public static Draws Plain(int rows, float temperature = 1) =>
        new(new float[rows], Repeat(temperature, rows), new long[rows], Repeat(1f, rows), new float[rows], Repeat(-1L, rows), Truncate: false);

    public IEnumerable<(string Name, OrtValue Value)> Inputs() =>
    [
        ("uniform", GraphSession.Tensor(Uniform, Rows)),
        ("temperature", GraphSession.Tensor(Temperature, Rows)),
        ("top_k", GraphSession.Tensor(TopK, Rows)),
        ("top_p", GraphSession.Tensor(TopP, Rows)),
        ("min_p", GraphSession.Tensor(MinP, Rows)),
        ("forced_token", GraphSession.Tensor(Forced, Rows)),
        ("truncate", GraphSession.Tensor([Truncate])),
        ("min_p_first", GraphSession.Tensor(MinPFirst, Rows)),
        ("kept_limit", GraphSession.Tensor([KeptLimit])),
        ("repetition_penalty", GraphSession.Tensor(Repetition, Rows)),
        ("frequency_penalty", GraphSession.Tensor(Frequency, Rows)),
        ("presence_penalty", GraphSession.Tensor(Presence, Rows)),
        ("history", GraphSession.Tensor<long>([.. History.SelectMany(row => row.Concat(new long[HistoryWidth - row.Length]))], Rows, HistoryWidth)),
        ("history_length", GraphSession.Tensor<long>([.. History.Select(row => (long)row.Length)], Rows)),
        ("history_counts", GraphSession.Tensor<float>([.. History.SelectMany((row, i) => Counts(row, (int)PromptLength[i]).Concat(new float[HistoryWidth - row.Length]))], Rows, HistoryWidth)),
        ("alternatives", GraphSession.Tensor(Alternatives, Rows)),
    ];

    // One place more than the longest: an engine's is wider too.
    private int HistoryWidth => 1 + History.Max(row => row.Length);

    private static IEnumerable<float> Counts(long[] history, int promptLength) => history.Select(id => (float)history.Skip(promptLength).Count(other => other == id));

    private static T[] Repeat<T>(T value, int count) => [.. Enumerable.Repeat(value, count)];
}

/// <summary>What a call puts out, per row.</summary>
internal sealed record Sampled(
    long[] Token, float[] LogProb, float[] UntruncatedLogProb, long[] KeptCount, long[][] KeptIds, long[][] AlternativeIds, float[][] AlternativeLogProbs)
{
    public static Sampled Read(IReadOnlyDictionary<string, OrtValue> outputs)
    {
        var token = Values<long>("sampled_token");
        return new(
            token, Values<float>("sampled_logprob"), Values<float>("untruncated_logprob"), Values<long>("kept_count"),
            Lists<long>("kept_ids"), Lists<long>("alternative_ids"), Lists<float>("alternative_logprobs"));

        T[][] Lists<T>(string name) where T : unmanaged
        {
            var values = Values<T>(name);
            var width = values.Length / token.Length;
            return [.. Enumerable.Range(0, token.Length).Select(row => values[(row * width)..((row + 1) * width)])];
        }

        T[] Values<T>(string name) where T : unmanaged => outputs[name].GetTensorDataAsSpan<T>().ToArray();
    }
}
