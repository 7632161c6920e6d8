using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Sapo.Parity.Models;

/// <summary>The generator against numbers that numpy 1.24.2 gave.</summary>
public sealed class NumpyGeneratorTests
{
    [Theory]
    [InlineData(new uint[] { 1, 2 }, new ulong[] { 0x72cb55b7a4acbbc2, 0x6e4e482cf03b98ab, 0x6b85101d168318a1 })]
    [InlineData(new uint[] { 1, 2, 3, 4, 5, 6 }, new ulong[] { 0x9f2e9b7b6e265292, 0x1e9114dcb6eb4a21, 0xd6cbd985e3663eed })]
    public void NextUInt64_SeedWords_GivesWhatPcg64Gives(uint[] seed, ulong[] expected)
    {
        var generator = new NumpyGenerator(seed);
        Assert.Equal(expected, expected.Select(_ => generator.NextUInt64()));
    }

    [Fact]
    public void NextNormal_AMillion_AreNumpysBitForBit() // some 270 of them from the tail
    {
        var generator = new NumpyGenerator(1, 2);
        float[] values = [.. Enumerable.Range(0, 1_000_000).Select(_ => generator.NextNormal())];
        Assert.Equal([-1.3151772022247314f, -0.8722195029258728f, 1.7323579788208008f, 0.40349051356315613f, 0.1555560827255249f, 0.33321431279182434f], values[..6]);
        Assert.Equal("08108ffe36928774f0fcd835d74ae0849b5514291d19af7bdd9df2fc5f7a9a3a", Sha256(values));
    }

    [Theory]
    [InlineData("model.embed_tokens.weight", new long[] { 512, 128 }, "4b7aacc818acac362db7d8b9054d13423db93894bdff8453f0dee829bf7fc7b9")]
    [InlineData("model.layers.3.mlp.down_proj.weight", new long[] { 128, 384 }, "e6c8a805ede5a965d0cccda10b0c24cedb95d9653b2e19148673daaec701c906")]
    [InlineData("model.norm.weight", new long[] { 128 }, "39e30495a3be2403ea04bde935771bd18932775c617beaa142bcc5f452e99a13")]
    public void Values_OfATensor_AreTheScriptsBitForBit(string name, long[] shape, string sha256) =>
        Assert.Equal(sha256, Sha256(RandomModel.Parse("make_models.py --size S --dtype f32 --seed 1").Values(name, shape)));

    private static string Sha256(float[] values) => Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<float>(values)));
}
