using Sapo.Core;

namespace Sapo.Hybrid.Profiling;

/// <summary>Made-up token ids: the same on every machine, different for every sequence.</summary>
internal static class ProfileTokens
{
    private const long Seed = 7;

    /// <summary>Ids drawn evenly from the vocabulary.</summary>
    /// <param name="sequence">Which sequence.</param>
    /// <param name="count">How many ids.</param>
    /// <param name="vocabulary">Number of ids there are.</param>
    public static int[] Of(int sequence, int count, int vocabulary) =>
        [.. Enumerable.Range(0, count).Select(position => Math.Min(vocabulary - 1, (int)((double)CounterRandom.Uniform(Seed, sequence, 0, position) * vocabulary)))];
}
