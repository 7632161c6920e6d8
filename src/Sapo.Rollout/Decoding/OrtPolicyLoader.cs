using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;
using Sapo.Rollout.Policies;

namespace Sapo.Rollout.Decoding;

/// <summary>
/// Loads versions into ONNX Runtime directly. Owns the keys and values of the engine's rows and, with our own products, the one session that serves all versions:
/// a version then is its mapped file alone.
/// </summary>
internal sealed class OrtPolicyLoader : IPolicyLoader
{
    private readonly ModelConfig _config;
    private readonly RowBuffers _rows;
    private readonly KeyValueCache _cache;
    private readonly int _threads;
    private readonly Precision _precision;
    private readonly bool _direct;
    private readonly string _provider;
    private InferenceSession? _session;

    /// <param name="config">The model, the same for every version.</param>
    /// <param name="rows">The engine's inputs and outputs; outlives the loader.</param>
    /// <param name="positions">Longest sequence.</param>
    /// <param name="threads">Threads of a run.</param>
    /// <param name="precision">What weights are read in.</param>
    /// <param name="direct">Whether products are <see cref="Kernels.LinearKernel"/>'s: in 32 bits, on the CPU.</param>
    /// <param name="provider">What computes: cpu or cuda.</param>
    public OrtPolicyLoader(ModelConfig config, RowBuffers rows, int positions, int threads, Precision precision, bool direct, string provider = "cpu") =>
        (_config, _rows, _cache, _threads, _precision, _direct, _provider) = (config, rows, new KeyValueCache(config, rows.Rows, positions, precision), threads, precision, direct, provider);

    /// <inheritdoc />
    public long KeyValueBytes => _cache.Bytes;

    /// <inheritdoc />
    public ILoadedPolicy Load(PublishedPolicy policy, bool prepack)
    {
        if (!_direct) return new Loaded(this, OrtPolicyModel.Load(policy, _config, _threads, prepack, _precision, _provider));
        _session ??= OrtPolicyModel.DirectSession(policy, _config, _threads);
        return new Loaded(this, OrtPolicyModel.LoadDirect(policy, _config, _session));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _session?.Dispose();
        _cache.Dispose();
    }

    private sealed class Loaded(OrtPolicyLoader loader, OrtPolicyModel model) : ILoadedPolicy
    {
        public long WeightBytes => model.WeightBytes;

        public LogProbMismatch? Probe(IReadOnlyList<ProbeSequence> probe)
        {
            if (probe.Count == 0) return null;
            using var cache = new KeyValueCache(loader._config, PolicyProbe.Rows, PolicyProbe.PositionsFor(probe), loader._precision);
            using var rows = new RowBuffers(PolicyProbe.Rows, loader._config.VocabSize);
            using var session = new OrtDecodeSession(model, cache, rows, ownsModel: false);
            return PolicyProbe.Check(session, rows, probe, ProbeTolerance.Of(loader._precision));
        }

        public IDecodeSession Activate() => new OrtDecodeSession(model, loader._cache, loader._rows, ownsModel: true);

        public void Dispose() => model.Dispose();
    }
}
