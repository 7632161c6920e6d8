using Sapo.Rollout.Policies;

namespace Sapo.Rollout.Decoding;

/// <summary>Serves one stock folder. Owns the keys and values of the engine's rows; the session it makes owns the model.</summary>
internal sealed class StockPolicyLoader : IPolicyLoader
{
    private readonly StockModel _model;
    private readonly RowBuffers _rows;
    private readonly KeyValueCache _cache;
    private bool _isLoaded;

    /// <param name="model">The loaded folder.</param>
    /// <param name="rows">The engine's inputs and outputs; outlives the loader.</param>
    /// <param name="positions">Longest sequence.</param>
    public StockPolicyLoader(StockModel model, RowBuffers rows, int positions) =>
        (_model, _rows, _cache) = (model, rows, new KeyValueCache(model.Config, rows.Rows, positions));

    /// <inheritdoc />
    public long KeyValueBytes => _cache.Bytes;

    /// <summary>Hands the model over, once: a stock folder has no other versions.</summary>
    public ILoadedPolicy Load(PublishedPolicy policy, bool prepack)
    {
        if (_isLoaded) throw new UserErrorException($"{policy.Folder} cannot take the place of a stock folder", "one stock folder per engine", "Start another engine, or import the Hugging Face folder it was built from");
        _isLoaded = true;
        return new Loaded(this);
    }

    /// <inheritdoc />
    public void Dispose() => _cache.Dispose();

    private sealed class Loaded(StockPolicyLoader loader) : ILoadedPolicy
    {
        public long WeightBytes => loader._model.WeightBytes;

        public LogProbMismatch? Probe(IReadOnlyList<ProbeSequence> probe) => null; // no learner has seen it

        public IDecodeSession Activate() => new StockDecodeSession(loader._model, loader._cache, loader._rows, ownsModel: true);

        public void Dispose() => loader._model.Dispose();
    }
}
