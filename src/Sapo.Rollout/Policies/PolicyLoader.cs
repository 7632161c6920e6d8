using Sapo.Core.Models;
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>Makes sessions of published policies: load, probe on rows of their own, bind to the engine's rows.</summary>
/// <param name="config">The model, the same for every version.</param>
/// <param name="cache">The engine's keys and values.</param>
/// <param name="rows">The engine's inputs and outputs.</param>
/// <param name="threads">Threads of a run.</param>
internal sealed class PolicyLoader(ModelConfig config, KeyValueCache cache, RowBuffers rows, int threads)
{
    /// <summary>Loads a version.</summary>
    public OrtPolicyModel Load(PublishedPolicy policy, bool prepack) => OrtPolicyModel.Load(policy, config, threads, prepack);

    /// <summary>Probes a loaded version, beside whatever the engine is decoding.</summary>
    /// <returns>The largest difference from the learner's log-probs.</returns>
    /// <exception cref="SwapFailedException">It is too large.</exception>
    public double Probe(OrtPolicyModel model, IReadOnlyList<ProbeSequence> probe)
    {
        if (probe.Count == 0) return 0;
        using var ownCache = new KeyValueCache(config, PolicyProbe.Rows, probe.Max(sequence => sequence.TokenIds.Length) + 1);
        using var ownRows = new RowBuffers(PolicyProbe.Rows, config.VocabSize);
        using var session = new OrtDecodeSession(model, ownCache, ownRows, ownsModel: false);
        return PolicyProbe.Check(session, ownRows, probe);
    }

    /// <summary>Binds a version to the engine's rows; the session owns the model from here on.</summary>
    public OrtDecodeSession Bind(OrtPolicyModel model) => new(model, cache, rows, ownsModel: true);
}
