using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>Makes decode sessions of published policies, over the engine's rows. Owns the memory that successive versions share.</summary>
internal interface IPolicyLoader : IDisposable
{
    /// <summary>Bytes of keys and values that the engine's rows take.</summary>
    long KeyValueBytes { get; }

    /// <summary>Loads a version, beside whatever the engine is decoding.</summary>
    /// <param name="policy">The version.</param>
    /// <param name="prepack">Whether its matrices are reordered for speed.</param>
    /// <exception cref="UserErrorException">A file is missing, broken or of another model.</exception>
    ILoadedPolicy Load(PublishedPolicy policy, bool prepack);
}

/// <summary>A version that is loaded and does not decode yet.</summary>
internal interface ILoadedPolicy : IDisposable
{
    /// <summary>Replays probe sequences on rows of its own.</summary>
    /// <returns>How far they lie from the learner's log-probs; null without sequences.</returns>
    /// <exception cref="SwapFailedException">Further than the precision explains.</exception>
    LogProbMismatch? Probe(IReadOnlyList<ProbeSequence> probe);

    /// <summary>Bytes of the weights that were loaded.</summary>
    long WeightBytes { get; }

    /// <summary>A session over the engine's rows; it owns what was loaded from here on.</summary>
    IDecodeSession Activate();
}
