using Sapo.Learner.Compute;
using TorchSharp;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Compute;

public sealed class ComputeThreadsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void ForEach_AnyNumberOfThreads_RunsEveryPartOnce(int count)
    {
        using var threads = new ComputeThreads(count);
        for (var parts = 0; parts < 40; parts++)
        {
            var runs = new int[parts];
            threads.ForEach(parts, part => Interlocked.Increment(ref runs[part]));
            Assert.All(runs, times => Assert.Equal(1, times));
        }
    }

    [Fact]
    public void ForEach_TwoThreads_RunAtOnce()
    {
        using var threads = new ComputeThreads(2);
        using var both = new Barrier(2);
        threads.ForEach(2, _ => Assert.True(both.SignalAndWait(Patience), "The other part did not begin."));
    }

    [Fact]
    public void ForEach_WithinAPart_IsComputedByThatPart()
    {
        using var threads = new ComputeThreads(2);
        var sums = new long[4];
        threads.ForEach(4, part => threads.ForEach(10, inner => sums[part] += inner)); // no race: nobody helps
        Assert.All(sums, sum => Assert.Equal(45, sum));
    }

    [Fact]
    public void ForEach_FromManyCallers_AllAreServed()
    {
        using var threads = new ComputeThreads(3);
        var sums = new long[16];
        Parallel.For(0, sums.Length, caller =>
        {
            for (var job = 0; job < 200; job++) threads.ForEach(5, part => Interlocked.Add(ref sums[caller], part));
        });
        Assert.All(sums, sum => Assert.Equal(200 * 10, sum));
    }

    [Fact]
    public void ForEach_APartFails_ThrowsOnTheCallerAndServesTheNextCall()
    {
        using var threads = new ComputeThreads(2);
        var failure = Assert.Throws<InvalidOperationException>(() => threads.ForEach(8, part => throw new InvalidOperationException($"part {part}")));
        Assert.StartsWith("part ", failure.Message, StringComparison.Ordinal);
        var runs = 0;
        threads.ForEach(8, _ => Interlocked.Increment(ref runs));
        Assert.Equal(8, runs);
    }

    [Theory]
    [InlineData(0, 1, 1)]
    [InlineData(3, 4, 1)]
    [InlineData(10, 4, 2)]
    [InlineData(1000, 1, 3)]
    public void ForRanges_CoversTheLengthInOrder(long length, long least, int expected)
    {
        using var threads = new ComputeThreads(3);
        var ranges = new List<(long First, long Count)>();
        threads.ForRanges(length, least, (first, count) =>
        {
            lock (ranges) ranges.Add((first, count));
        });
        Assert.Equal(expected, ranges.Count);
        long next = 0;
        foreach (var (first, count) in ranges.OrderBy(range => range.First))
        {
            Assert.Equal(next, first);
            next = first + count;
        }
        Assert.Equal(length, next);
    }

    [Theory]
    [InlineData(1, 7)]
    [InlineData(3, 200_000)] // rows larger than a block
    [InlineData(5000, 33)]
    public void ForBlocks_CoversEveryRowOnce(long rows, long columns)
    {
        using var scope = NewDisposeScope();
        using var threads = new ComputeThreads(2);
        var seen = zeros(rows, columns);
        var blocks = new int[ComputeThreads.BlocksOf(seen)];
        threads.ForBlocks(seen, (first, count, block) =>
        {
            seen.narrow(0, first, count).add_(1);
            blocks[block]++;
        });
        Assert.Equal(1, seen.min().ToDouble());
        Assert.Equal(1, seen.max().ToDouble());
        Assert.All(blocks, times => Assert.Equal(1, times));
    }
}
