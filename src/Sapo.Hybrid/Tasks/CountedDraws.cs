using Sapo.Core;

namespace Sapo.Hybrid.Tasks;

/// <summary>
/// Random draws that belong to a counter: item n of a stream always sees the same sequence, whoever asks and when. They
/// come from <see cref="CounterRandom"/> under negative sample indices, which no completion has.
/// </summary>
/// <param name="seed">The run's seed.</param>
/// <param name="stream">What is drawn, from 0.</param>
/// <param name="item">Which one.</param>
internal struct CountedDraws(long seed, int stream, long item)
{
    private int _count;

    /// <summary>Uniform in 0..bound-1. The bias of the multiplication is below bound / 2^32.</summary>
    public int Below(int bound) => (int)(((ulong)CounterRandom.Word(seed, item, -1 - stream, _count++) * (ulong)bound) >> 32);
}
