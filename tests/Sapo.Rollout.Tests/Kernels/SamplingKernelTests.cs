// The sampling operator where sizes, values and neighbours are awkward; what it samples is held to reference libraries in Sapo.Parity.Tests, beside the head in
// standard operators.
using Microsoft.ML.OnnxRuntime;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Sync.Graphs;

namespace Sapo.Rollout.Tests.Kernels;

public sealed unsafe class SamplingKernelTests
{
    private const double LogProbTolerance = 1e-5;
    private const double EdgeTolerance = 1e-6; // a uniform number this near to a token's edge may fall either way
    private const double UnitInTheLastPlace = 1.0 / (1 << 23);

    [Theory]
    [InlineData(1), InlineData(2), InlineData(15), InlineData(16), InlineData(17), InlineData(33), InlineData(63), InlineData(64), InlineData(65), InlineData(80)]
    [InlineData(127), InlineData(129), InlineData(511), InlineData(512), InlineData(513), InlineData(529), InlineData(4095), InlineData(4097), InlineData(7001)]
    public void Sample_AnySize_GivesLogProbsAndEdgesOfDoublePrecision(int vocabulary)
    {
        int[] ids = [.. new[] { 0, 1, 14, 15, 16, 31, 63, 64, 65, vocabulary / 2, vocabulary - 2, vocabulary - 1 }.Select(id => Math.Clamp(id, 0, vocabulary - 1))];
        using var head = new Head(vocabulary, 2 * ids.Length);
        foreach (var (scale, temperature) in new[] { (8f, 1f), (1e4f, 1f), (3f, 0.01f), (1e4f, 0.01f), (0f, 0.7f) })
        {
            float[] logits = [.. Enumerable.Range(0, vocabulary).Select(id => id % 7 == 3 ? float.NegativeInfinity : scale * (2 * CounterRandom.Uniform(1, vocabulary, 0, id) - 1))];
            var (logProbs, cumulative) = Reference(logits, temperature);
            for (var i = 0; i < ids.Length; i++)
            {
                head.Rows.ForcedTokens.Span[i] = ids[i];
                head.Rows.Uniforms.Span[ids.Length + i] = (i + 0.37f) / ids.Length;
            }
            head.Rows.Temperatures.Span.Fill(temperature);
            head.Run(Repeated(logits, 2 * ids.Length));
            for (var i = 0; i < ids.Length; i++)
            {
                AssertClose(logProbs[ids[i]], head.Rows.SampledLogProbs.Span[i]);
                var token = (int)head.Rows.SampledTokens.Span[ids.Length + i];
                AssertClose(logProbs[token], head.Rows.SampledLogProbs.Span[ids.Length + i]);
                Assert.InRange(head.Rows.Uniforms.Span[ids.Length + i], (token == 0 ? 0 : cumulative[token - 1]) - EdgeTolerance, cumulative[token] + EdgeTolerance);
                Assert.False(float.IsNegativeInfinity(logits[token]));
            }
        }
    }

    [Theory]
    [InlineData(40), InlineData(512), InlineData(20_011)]
    public void Sample_ARowBesideOthersAndOnAnyThreads_GivesTheSameBitsAsAlone(int vocabulary)
    {
        const int Kinds = 9, Rows = 4 * Kinds;
        float[] logits = [.. Enumerable.Range(0, Rows * vocabulary).Select(i => 6 * CounterRandom.Uniform(2, 0, 0, i))];
        var expected = new List<string>();
        for (var row = 0; row < Rows; row++)
        {
            using var alone = new Head(vocabulary, 1);
            Ask(alone.Rows, 0, row, Kinds);
            alone.Run(logits[(row * vocabulary)..((row + 1) * vocabulary)]);
            expected.Add(Told(alone.Rows, 0));
        }
        foreach (var threads in new[] { 1, 2, 3 })
        {
            using var together = new Head(vocabulary, Rows, threads);
            for (var row = 0; row < Rows; row++) Ask(together.Rows, row, row, Kinds);
            together.Run(logits);
            Assert.Equal(expected, Enumerable.Range(0, Rows).Select(row => Told(together.Rows, row)));
        }
    }

    [Theory]
    [InlineData(float.NaN, 0), InlineData(float.NaN, 99), InlineData(float.PositiveInfinity, 64)]
    public void Sample_LogitThatIsNoNumber_SpoilsItsOwnRowAlone(float poison, int place)
    {
        const int Vocabulary = 100, Kinds = 9;
        var logits = Enumerable.Range(0, Kinds * Vocabulary).Select(i => CounterRandom.Uniform(3, 0, 0, i)).ToArray();
        using var head = new Head(Vocabulary, Kinds);
        for (var row = 0; row < Kinds; row++) Ask(head.Rows, row, row, Kinds);
        head.Run(logits);
        string[] clean = [.. Enumerable.Range(0, Kinds).Select(row => Told(head.Rows, row))];
        for (var broken = 0; broken < Kinds; broken++)
        {
            float[] spoilt = [.. logits];
            spoilt[broken * Vocabulary + place] = poison;
            head.Run(spoilt);
            Assert.True(float.IsNaN(head.Rows.SampledLogProbs.Span[broken]) && float.IsNaN(head.Rows.UntruncatedLogProbs.Span[broken]));
            Assert.All(Enumerable.Range(0, Kinds).Where(row => row != broken), row => Assert.Equal(clean[row], Told(head.Rows, row)));
        }
    }

    [Theory]
    [InlineData(0, 5), InlineData(15, 16), InlineData(16, 99), InlineData(96, 99), InlineData(97, 98)]
    public void Sample_GreedyWithEquals_TakesTheLowest(int first, int second)
    {
        var logits = Enumerable.Repeat(-1f, 100).ToArray();
        (logits[first], logits[second]) = (-0f, 0f);
        using var head = new Head(logits.Length, 1);
        head.Rows.Temperatures.Span[0] = 0;
        head.Rows.WantedAlternatives.Span[0] = 2;
        head.Run(logits);
        Assert.Equal((first, 0f), (head.Rows.SampledTokens.Span[0], head.Rows.SampledLogProbs.Span[0]));
        Assert.Equal([first, second], head.Rows.AlternativeIdsOf(0).ToArray());
    }

    [Fact]
    public void First_AnyOrder_IsTheSortedBeginning()
    {
        foreach (var size in new[] { 1, 16, 37, 2000 })
        {
            foreach (var shape in new Func<int, float>[] { id => id, id => -id, id => id % 5, _ => float.NegativeInfinity, id => CounterRandom.Uniform(4, 0, 0, id) - 0.5f, id => id % 3 == 0 ? float.NaN : id % 2 })
            {
                float[] scores = [.. Enumerable.Range(0, size).Select(shape)];
                int[] order = [.. Enumerable.Range(0, size).Where(id => !float.IsNaN(scores[id])).OrderByDescending(id => scores[id]).ThenBy(id => id)];
                foreach (var count in new[] { 1, 5, 64 })
                {
                    using var ranks = new NativeBuffer<ulong>(RankedIds.RoomFor(count));
                    int found;
                    fixed (float* start = scores) found = RankedIds.First(start, size, count, ranks.Pointer);
                    Assert.Equal(order.Take(count), ranks.Slice(0, found).ToArray().Select(RankedIds.IdOf));
                }
            }
        }
    }

    [Fact]
    public void Draw_AnyKindOfRow_AllocatesNothingManaged()
    {
        const int Vocabulary = 700, Kinds = 9;
        using var head = new Head(Vocabulary, Kinds);
        for (var row = 0; row < Kinds; row++) Ask(head.Rows, row, row, Kinds);
        var logits = Enumerable.Range(0, Kinds * Vocabulary).Select(i => CounterRandom.Uniform(5, 0, 0, i)).ToArray();
        head.Run(logits);
        var (before, after) = (0L, 0L);
        fixed (float* start = logits)
        {
            var call = head.Call(start);
            for (var i = 0; i < 2; i++) // the first round compiles
            {
                before = GC.GetAllocatedBytesForCurrentThread();
                for (var row = 0; row < Kinds; row++) SamplingKernel.Draw(call, row);
                after = GC.GetAllocatedBytesForCurrentThread();
            }
        }
        Assert.Equal(before, after);
    }

    [Fact]
    public void Sample_NumbersOutOfRange_AreRefused()
    {
        AssertRefused(rows => rows.ForcedTokens.Span[1] = 30);
        AssertRefused(rows => (rows.HistoryLengths.Span[1], rows.History.Span[rows.HistoryWidth]) = (1, 30));
        AssertRefused(rows => (rows.HistoryLengths.Span[0], rows.History.Span[0]) = (1, -1));
        AssertRefused(rows => rows.HistoryLengths.Span[0] = rows.HistoryWidth + 1);
        AssertRefused(rows => rows.KeptLimits.Span[0] = -1);
        AssertRefused(rows => rows.WantedAlternatives.Span[1] = 31);
    }

    [Fact]
    public void Sample_LogitsOfOtherRows_AreRefused()
    {
        using var head = new Head(30, 2);
        Assert.Contains("sapo.Sample: inputs are not one per row of logits", Assert.Throws<OnnxRuntimeException>(() => head.Run(new float[90])).Message, StringComparison.Ordinal);
    }

    private static void AssertRefused(Action<RowBuffers> spoil)
    {
        using var head = new Head(30, 2);
        head.Run(new float[60]);
        spoil(head.Rows);
        Assert.Contains("sapo.Sample: a token, a length of a history", Assert.Throws<OnnxRuntimeException>(() => head.Run(new float[60])).Message, StringComparison.Ordinal);
    }

    // Rows of every kind: plain, greedy, forced, penalised, each cut, and a cut beyond the candidates.
    private static void Ask(RowBuffers rows, int row, int number, int kinds)
    {
        var options = (number % kinds) switch
        {
            0 => new SamplingOptions { Temperature = 0.8 },
            1 => new SamplingOptions { Temperature = 0 },
            2 => new SamplingOptions { TopK = 3 },
            3 => new SamplingOptions { TopP = 0.5 },
            4 => new SamplingOptions { MinP = 0.3, TopP = 0.9, MinPFirst = true },
            5 => new SamplingOptions { TopP = 0.999, MinP = 1e-6 },
            6 => new SamplingOptions { RepetitionPenalty = 1.3, FrequencyPenalty = 0.2, PresencePenalty = 0.1, TopK = 10 },
            _ => new SamplingOptions(),
        };
        rows.SetDraw(row, options, [0, 7, 31, 7], number % kinds == 8 ? 4 : 0);
        rows.Feed(row, 7, position: 4, CounterRandom.Uniform(6, number, 0, 0));
        if (number % kinds == 7) rows.ForcedTokens.Span[row] = 11;
    }

    private static string Told(RowBuffers rows, int row) =>
        $"{rows.SampledTokens.Span[row]} {rows.SampledLogProbs.Span[row]:R} {rows.UntruncatedLogProbs.Span[row]:R} {rows.KeptCounts.Span[row]} "
        + $"[{string.Join(' ', rows.KeptIdsOf(row).ToArray())}] [{string.Join(' ', rows.AlternativeIdsOf(row).ToArray())}] [{string.Join(' ', rows.AlternativeLogProbsOf(row).ToArray())}]";

    private static (double[] LogProbs, double[] Cumulative) Reference(float[] logits, double temperature)
    {
        double most = logits.Max(), sum = 0;
        double[] weights = [.. logits.Select(logit => Math.Exp((logit - most) / (float)temperature))];
        var total = weights.Sum();
        return ([.. logits.Select(logit => (logit - most) / (float)temperature - Math.Log(total))], [.. weights.Select(weight => (sum += weight) / total)]);
    }

    // A 32-bit float's own rounding is more than the tolerance beyond about 100 nats.
    private static void AssertClose(double expected, float found) =>
        Assert.True(Math.Abs(found - expected) <= LogProbTolerance + Math.Abs(expected) * UnitInTheLastPlace || (double.IsNegativeInfinity(expected) && float.IsNegativeInfinity(found)), $"{found}, by definition {expected}");

    private static float[] Repeated(float[] logits, int rows) => [.. Enumerable.Repeat(logits, rows).SelectMany(row => row)];

    // The operator in a session of its own, driven as a decode session drives it.
    private sealed class Head : IDisposable
    {
        private const int Positions = 6;
        private readonly InferenceSession _session;
        private readonly RunOptions _run = new();
        private readonly DrawBinding _draw;
        private readonly int _vocabulary;

        public Head(int vocabulary, int rows, int threads = 1)
        {
            using var options = OrtPolicyModel.Options(threads, prepack: false);
            KernelOperators.Register(options, threads);
            _session = new InferenceSession(OnnxGraphWriter.HeadGraph(vocabulary, direct: true), options);
            Rows = new RowBuffers(rows, vocabulary, Positions);
            (_draw, _vocabulary) = (new DrawBinding(Rows), vocabulary);
        }

        public RowBuffers Rows { get; }

        public void Run(float[] logits)
        {
            var alternatives = Rows.MostAlternatives(0, Rows.Rows);
            *Rows.Truncate.Pointer = true;
            using var binding = _session.CreateIoBinding();
            using var value = OrtValue.CreateTensorValueFromMemory(logits, [logits.Length / _vocabulary, _vocabulary]);
            binding.BindInput("logits", value);
            _draw.BindInputs(binding, 0, Rows.Rows);
            _draw.BindOutputs(binding, 0, Rows.Rows, truncate: true, alternatives);
            _session.RunWithBinding(_run, binding);
            _draw.Store(0, Rows.Rows, alternatives);
        }

        public SamplingCall Call(float* logits) => new()
        {
            Logits = logits, Uniform = Rows.Uniforms.Pointer, Temperature = Rows.Temperatures.Pointer,
            Repetition = Rows.RepetitionPenalties.Pointer, Frequency = Rows.FrequencyPenalties.Pointer, Presence = Rows.PresencePenalties.Pointer,
            History = Rows.History.Pointer, HistoryCounts = Rows.HistoryCounts.Pointer, HistoryLength = Rows.HistoryLengths.Pointer,
            TopK = Rows.TopKs.Pointer, TopP = Rows.TopPs.Pointer, MinP = Rows.MinPs.Pointer, MinPFirst = Rows.MinPFirst.Pointer, Forced = Rows.ForcedTokens.Pointer,
            Token = Rows.SampledTokens.Pointer, LogProb = Rows.SampledLogProbs.Pointer, UntruncatedLogProb = Rows.UntruncatedLogProbs.Pointer,
            KeptCount = Rows.KeptCounts.Pointer, KeptIds = Rows.KeptIds.Pointer, AlternativeIds = Rows.AlternativeIds.Pointer, AlternativeLogProbs = Rows.AlternativeLogProbs.Pointer,
            Rows = Rows.Rows, Vocabulary = _vocabulary, HistoryWidth = Rows.HistoryWidth, KeptWidth = Rows.KeptWidth, Alternatives = Rows.MostAlternatives(0, Rows.Rows), Truncate = true,
        };

        public void Dispose()
        {
            _session.Dispose();
            _run.Dispose();
            _draw.Dispose();
            Rows.Dispose();
        }
    }
}
