using Sapo.Core;

namespace Sapo.Core.Tests;

public sealed class CounterRandomTests
{
    // 5 standard deviations: one false alarm in two million, and the numbers are fixed anyway.
    private const double Sigmas = 5;

    [Theory] // the known answers published with the Random123 library for philox4x32, 10 rounds
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Philox_PublishedCounters_GivesThePublishedWords(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3) =>
        Assert.Equal((w0, w1, w2, w3), CounterRandom.Philox(c0, c1, c2, c3, k0, k1));

    [Fact]
    public void Uniform_EveryArgument_ChangesTheNumber()
    {
        var keys = new HashSet<uint>();
        long[] wide = [0, 1, 1L << 32, -1, long.MinValue];
        int[] narrow = [0, 1, 1 << 16, int.MaxValue];
        foreach (var seed in wide)
            foreach (var prompt in wide)
                foreach (var sample in narrow)
                    foreach (var position in narrow) keys.Add(CounterRandom.Word(seed, prompt, sample, position));
        Assert.Equal(wide.Length * wide.Length * narrow.Length * narrow.Length, keys.Count);
    }

    [Theory]
    [InlineData(0), InlineData(1), InlineData(2), InlineData(3)]
    public void Uniform_CountingInOneArgument_IsUniformAndUncorrelated(int argument)
    {
        const int Count = 100_000, Bins = 100;
        var bins = new int[Bins];
        double sum = 0, sumOfProducts = 0, last = 0.5;
        for (var i = 0; i < Count; i++)
        {
            var value = argument switch
            {
                0 => CounterRandom.Uniform(i, 7, 0, 0),
                1 => CounterRandom.Uniform(7, i, 0, 0),
                2 => CounterRandom.Uniform(7, 7, i, 0),
                _ => CounterRandom.Uniform(7, 7, 0, i),
            };
            Assert.InRange(value, 0, 1 - 1f / (1 << 24));
            bins[(int)(value * Bins)]++;
            sum += value - 0.5;
            sumOfProducts += (value - 0.5) * (last - 0.5);
            last = value;
        }
        var chiSquare = bins.Sum(count => Math.Pow(count - (double)Count / Bins, 2) / ((double)Count / Bins));
        Assert.InRange(chiSquare, Bins - 1 - Sigmas * Math.Sqrt(2.0 * (Bins - 1)), Bins - 1 + Sigmas * Math.Sqrt(2.0 * (Bins - 1)));
        Assert.InRange(sum / Count, -Sigmas * Math.Sqrt(1.0 / 12 / Count), Sigmas * Math.Sqrt(1.0 / 12 / Count)); // variance of a uniform number: 1/12
        Assert.InRange(sumOfProducts / Count, -Sigmas / 12 / Math.Sqrt(Count), Sigmas / 12 / Math.Sqrt(Count));
    }
}
