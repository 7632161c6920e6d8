using Sapo.Core;
using Sapo.Sync.Weights;

namespace Sapo.Sync.Tests.Weights;

public sealed class BlockQuantizationTests
{
    [Fact]
    public void Quantize_FourBitsByHand_GivesTheseIntegers()
    {
        // The extreme is -8, so the scale is -8 / -8 = 1 and an integer is the weight + 8: 8, 9 | 15, 8 | 0, 7 | ...
        float[] row = [0, 1, 7, 0.4f, -8, -1];
        var (integers, scales) = Quantized(row, bits: 4);
        Assert.Equal([1f], scales);
        Assert.Equal([0x98, 0x8F, 0x70], integers[..3]);
        Assert.All(integers[3..], filling => Assert.Equal(0x88, filling)); // the rest of the block is zeros
    }

    [Fact]
    public void Quantize_EightBitsByHand_GivesTheseIntegers()
    {
        // The extreme is 64, so the scale is 64 / -128 = -0.5 and an integer is 128 - 2 * weight.
        var (integers, scales) = Quantized([64, 0, -1, 0.2f, -63.9f], bits: 8);
        Assert.Equal([-0.5f], scales);
        Assert.Equal([0, 128, 130, 128, 255], integers[..5]); // -63.9 would be 256: the nearest that there is
    }

    [Theory]
    [InlineData(8), InlineData(4)]
    public void Quantize_RandomRows_AreWithinAScaleOfTheWeights(int bits)
    {
        foreach (var length in new[] { 32, 64, 33, 95, 1 })
        {
            float[] row = [.. Enumerable.Range(0, length).Select(i => CounterRandom.Uniform(1, bits, length, i) - 0.5f)];
            var (integers, scales) = Quantized(row, bits);
            for (var i = 0; i < length; i++)
            {
                var integer = bits == 8 ? integers[i] : (integers[i / 2] >> (4 * (i % 2))) & 15;
                var found = (integer - (1 << (bits - 1))) * scales[i / 32];
                var most = integer == (1 << bits) - 1 ? 1 : 0.5; // the largest integer also stands for what would be one more
                Assert.True(Math.Abs(found - row[i]) <= most * Math.Abs(scales[i / 32]) * (1 + 1e-5), $"{row[i]} became {found}, scale {scales[i / 32]}");
            }
        }
    }

    [Theory]
    [InlineData(8), InlineData(4)]
    public void Quantize_Zeros_StayZero(int bits)
    {
        var (integers, scales) = Quantized(new float[32], bits);
        Assert.Equal([0f], scales);
        Assert.All(integers, integer => Assert.Equal(bits == 8 ? 128 : 0x88, integer));
    }

    private static (byte[] Integers, float[] Scales) Quantized(float[] row, int bits)
    {
        var blocks = (row.Length + 31) / 32;
        var (integers, scales) = (new byte[blocks * 32 * bits / 8], new float[blocks]);
        BlockQuantization.Quantize(row, bits, integers, scales);
        return (integers, scales);
    }
}
