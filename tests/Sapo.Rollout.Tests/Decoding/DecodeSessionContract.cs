using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Tests.Decoding;

/// <summary>What every decode session must do, whatever runs underneath. Equality is exact: same bits.</summary>
public abstract class DecodeSessionContract
{
    private const int Rows = 6, Positions = 48;

    // A sum of vocabulary-many fp32 probabilities, each within a few units in the last place.
    private const double SumTolerance = 1e-5;

    /// <summary>A session of version 0 over a small model.</summary>
    internal abstract IDecodeSession Create(RowBuffers rows, int positions);

    internal abstract int VocabSize { get; }

    [Fact]
    public void Decode_SameSequenceInAnyRow_GivesTheSame()
    {
        using var harness = new Harness(this);
        harness.Begin(0, 7, seed: 1);
        var expected = harness.Sample(0, 1, steps: 8)[0];
        for (var row = 0; row < Rows; row++) harness.Begin(row, 7, seed: 1);
        Assert.All(harness.Sample(0, Rows, steps: 8), drawn => Assert.Equal(expected, drawn));
    }

    [Fact]
    public void Decode_BesideOtherSequences_GivesTheSameAsAlone()
    {
        using var harness = new Harness(this);
        var alone = new (long, float, float)[Rows][];
        for (var row = 0; row < Rows; row++)
        {
            harness.Begin(row, 3 + 5 * row, seed: row);
            alone[row] = harness.Sample(row, 1, steps: 8)[0];
        }
        for (var row = 0; row < Rows; row++) harness.Begin(row, 3 + 5 * row, seed: row);
        Assert.Equal(alone, harness.Sample(0, Rows, steps: 8));
        for (var row = 2; row < 5; row++) harness.Begin(row, 3 + 5 * row, seed: row);
        Assert.Equal(alone[2..5], harness.Sample(2, 3, steps: 8));
    }

    [Theory]
    [InlineData(1), InlineData(2), InlineData(5), InlineData(16)]
    public void Prefill_InPieces_GivesTheSameAsAtOnce(int piece)
    {
        using var harness = new Harness(this);
        harness.Begin(0, 23, seed: 3);
        harness.Begin(1, 23, seed: 3, piece);
        var drawn = harness.Sample(0, 2, steps: 8);
        Assert.Equal(drawn[0], drawn[1]);
    }

    [Fact]
    public void CopyRow_PartOfALongerSequence_GivesTheSameAsComputingIt()
    {
        using var harness = new Harness(this);
        harness.Begin(0, 20, seed: 4);
        harness.Sample(0, 1, steps: 5);
        harness.Begin(1, 20, seed: 4);
        harness.Session.CopyRow(0, 5, 12);
        harness.Continue(5, 20, seed: 4, from: 12);
        Assert.Equal(harness.Sample(1, 1, steps: 8), harness.Sample(5, 1, steps: 8));
    }

    [Fact]
    public void Decode_ForcedTokens_ProbabilitiesSumToOne()
    {
        using var harness = new Harness(this);
        harness.Begin(2, 9, seed: 5);
        var sum = harness.Distribution(2).Sum(logProb => Math.Exp(logProb));
        Assert.InRange(sum, 1 - SumTolerance, 1 + SumTolerance);
    }

    [Fact]
    public void Decode_UniformNumbers_DrawByInverseCumulativeProbability()
    {
        using var harness = new Harness(this);
        harness.Begin(0, 9, seed: 6);
        var distribution = harness.Distribution(0);
        double edge = 0;
        for (var id = 0; id < VocabSize; id++)
        {
            var middle = edge + Math.Exp(distribution[id]) / 2;
            edge += Math.Exp(distribution[id]);
            if (middle >= 1 || Math.Exp(distribution[id]) < SumTolerance) continue; // too narrow to aim at in fp32
            var (token, logProb, _) = harness.Step(0, 1, (float)middle)[0];
            Assert.Equal(id, token);
            Assert.Equal(distribution[id], logProb);
        }
    }

    [Fact]
    public void Decode_TemperatureZero_TakesTheMostLikelyTokenForSure()
    {
        using var harness = new Harness(this);
        harness.Begin(0, 9, seed: 7);
        var distribution = harness.Distribution(0);
        harness.Buffers.Temperatures.Span[0] = 0;
        var (token, logProb, untruncated) = harness.Step(0, 1, uniform: 0.999f)[0];
        Assert.Equal(Array.IndexOf(distribution, distribution.Max()), token);
        Assert.Equal(0, logProb);
        Assert.Equal(distribution.Max(), untruncated);
    }

    private protected sealed class Harness : IDisposable
    {
        private readonly int[] _positions = new int[Rows];
        private readonly int _vocabSize;

        public Harness(DecodeSessionContract contract)
        {
            _vocabSize = contract.VocabSize;
            Buffers = new RowBuffers(Rows, _vocabSize);
            Session = contract.Create(Buffers, Positions);
        }

        public RowBuffers Buffers { get; }

        public IDecodeSession Session { get; }

        /// <summary>Computes a pseudo-random sequence but its last token, which is left to be fed.</summary>
        public void Begin(int row, int length, int seed, int piece = int.MaxValue) => Continue(row, length, seed, 0, piece);

        public void Continue(int row, int length, int seed, int from, int piece = int.MaxValue)
        {
            int[] ids = [.. Enumerable.Range(0, length).Select(i => (int)(CounterRandom.Word(seed, i, 0, 0) % _vocabSize))];
            for (var at = from; at < length - 1;)
            {
                var count = Math.Min(piece, length - 1 - at);
                Session.Prefill(row, ids.AsSpan(at, count), at);
                at += count;
            }
            (Buffers.InputIds.Span[row], Buffers.Temperatures.Span[row], Buffers.ForcedTokens.Span[row]) = (ids[^1], 1, RowBuffers.NoForcedToken);
            _positions[row] = length - 1;
        }

        /// <summary>One step without moving on.</summary>
        public (long Token, float LogProb, float Untruncated)[] Step(int first, int count, float uniform)
        {
            for (var row = first; row < first + count; row++) (Buffers.Lengths.Span[row], Buffers.Uniforms.Span[row]) = (_positions[row], uniform);
            if (count >= Session.MinimumRows) Session.Decode(first, count, truncate: false);
            else DecodeWithIdleRow(first);
            return [.. Enumerable.Range(first, count).Select(row =>
                (Buffers.SampledTokens.Span[row], Buffers.SampledLogProbs.Span[row], Buffers.UntruncatedLogProbs.Span[row]))];
        }

        private void DecodeWithIdleRow(int row)
        {
            var beside = row == 0 ? 1 : row - 1;
            var input = Buffers.InputIds.Span[beside];
            (Buffers.InputIds.Span[beside], Buffers.Lengths.Span[beside]) = (RowBuffers.IdleRow, 0);
            Session.Decode(Math.Min(row, beside), 2, truncate: false);
            Buffers.InputIds.Span[beside] = input;
        }

        /// <summary>Several steps, each feeding what the one before it drew.</summary>
        public (long Token, float LogProb, float Untruncated)[][] Sample(int first, int count, int steps)
        {
            var drawn = Enumerable.Range(0, count).Select(_ => new (long, float, float)[steps]).ToArray();
            for (var step = 0; step < steps; step++)
            {
                var now = Step(first, count, CounterRandom.Uniform(0, 0, 0, step));
                for (var i = 0; i < count; i++)
                {
                    drawn[i][step] = now[i];
                    Buffers.InputIds.Span[first + i] = now[i].Token;
                    _positions[first + i]++;
                }
            }
            return drawn;
        }

        /// <summary>The log-prob of every token as the next one.</summary>
        public float[] Distribution(int row)
        {
            var logProbs = new float[_vocabSize];
            for (var id = 0; id < _vocabSize; id++)
            {
                Buffers.ForcedTokens.Span[row] = id;
                var (token, logProb, _) = Step(row, 1, uniform: 0)[0];
                Assert.Equal(id, token);
                logProbs[id] = logProb;
            }
            Buffers.ForcedTokens.Span[row] = RowBuffers.NoForcedToken;
            return logProbs;
        }

        public void Dispose()
        {
            Session.Dispose();
            Buffers.Dispose();
        }
    }
}

public sealed class FakeDecodeSessionTests : DecodeSessionContract
{
    internal override int VocabSize => 11;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => new FakeDecodeSession(default, new FakeCache(rows.Rows), rows, VocabSize);
}
