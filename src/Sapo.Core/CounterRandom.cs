// Random numbers without a state: the number drawn for (seed, prompt, sample, position) is a function of those four
// alone, so a completion depends neither on the slot it ran in nor on what ran beside it, and any token can be drawn again.
// The function is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
// key = the seed, counter = (prompt id low, prompt id high, sample index, position); the first of its four words is used.
namespace Sapo.Core;

/// <summary>Counter-based random numbers for sampling.</summary>
public static class CounterRandom
{
    private const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57; // the published constants
    private const uint KeyStep0 = 0x9E3779B9, KeyStep1 = 0xBB67AE85;
    private const int Rounds = 10;
    private const float TwoToMinus24 = 1f / (1 << 24);

    /// <summary>The uniform number of one token: a multiple of 2^-24 in [0, 1), so that it is exact in 32-bit floats and never 1.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="promptId">The prompt's id.</param>
    /// <param name="sampleIndex">Index of the completion within its group.</param>
    /// <param name="position">Index of the token within the completion.</param>
    public static float Uniform(long seed, long promptId, int sampleIndex, int position) =>
        (Word(seed, promptId, sampleIndex, position) >> 8) * TwoToMinus24;

    /// <summary>The 32 random bits <see cref="Uniform"/> is made from.</summary>
    public static uint Word(long seed, long promptId, int sampleIndex, int position)
    {
        var block = Philox((uint)promptId, (uint)(promptId >> 32), (uint)sampleIndex, (uint)position, (uint)seed, (uint)(seed >> 32));
        return block.Word0;
    }

    /// <summary>One block of Philox4x32-10.</summary>
    internal static (uint Word0, uint Word1, uint Word2, uint Word3) Philox(uint counter0, uint counter1, uint counter2, uint counter3, uint key0, uint key1)
    {
        for (var round = 0; round < Rounds; round++)
        {
            var product0 = (ulong)Multiplier0 * counter0;
            var product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) =
                ((uint)(product1 >> 32) ^ counter1 ^ key0, (uint)product1, (uint)(product0 >> 32) ^ counter3 ^ key1, (uint)product0);
            unchecked
            {
                key0 += KeyStep0;
                key1 += KeyStep1;
            }
        }
        return (counter0, counter1, counter2, counter3);
    }
}
