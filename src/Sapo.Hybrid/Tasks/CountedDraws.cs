namespace Sapo.Hybrid.Tasks;

/// <summary>
/// Random draws that belong to a counter: item n of a stream always sees the same sequence, whoever asks and when.
/// SplitMix64 (Steele, Lea, Flood 2014), started from a mix of seed, stream and item.
/// </summary>
internal struct CountedDraws
{
    private const ulong Increment = 0x9E3779B97F4A7C15;

    private ulong _state;

    public CountedDraws(long seed, int stream, long item) => _state = Mix(Mix(Mix((ulong)seed + Increment) ^ (uint)stream) + (ulong)item * Increment);

    /// <summary>Uniform in 0..bound-1. The bias of the multiplication is below bound / 2^32.</summary>
    public int Below(int bound)
    {
        _state += Increment;
        return (int)(((Mix(_state) >> 32) * (ulong)bound) >> 32);
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
