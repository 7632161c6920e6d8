// Loading for ONNX Runtime GenAI: the published folder as it is, its genai_config.json overlaid with what decoding needs:
// the graph with the sampling head, the threads, room for padded batches, and an id beyond the vocabulary as pad and end
// token, so that GenAI neither ends a row by itself nor takes a real token for padding.
using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntimeGenAI;
using Sapo.Core.Models;
using Sapo.Rollout.Policies;

namespace Sapo.Rollout.Decoding;

/// <summary>Loads versions into GenAI, which keeps the keys and values itself.</summary>
internal sealed class GenAiPolicyLoader : IPolicyLoader
{
    private readonly ModelConfig _config;
    private readonly RowBuffers _rows;
    private readonly int _slots, _positions, _threads;
    private readonly Precision _precision;

    /// <param name="config">The model, the same for every version.</param>
    /// <param name="rows">The engine's inputs and outputs; outlives the loader.</param>
    /// <param name="slots">Most rows of a batch.</param>
    /// <param name="positions">Longest sequence.</param>
    /// <param name="threads">Threads of a run.</param>
    /// <param name="precision">What weights are read in.</param>
    public GenAiPolicyLoader(ModelConfig config, RowBuffers rows, int slots, int positions, int threads, Precision precision)
    {
        (_config, _rows, _slots, _positions, _threads, _precision) = (config, rows, slots, positions, threads, precision);
        _ = OrtEnv.Instance(); // loads ONNX Runtime: without it, GenAI ends the process instead of throwing
    }

    /// <inheritdoc />
    public long KeyValueBytes => _slots * KeyValueCache.BytesPerRow(_config, GenAiDecodeSession.BatchPositions(_positions), _precision);

    /// <inheritdoc />
    public ILoadedPolicy Load(PublishedPolicy policy, bool prepack)
    {
        string[] weights = [.. new[] { PublishedPolicy.WeightsFile, PublishedPolicy.WeightsFileOf(_precision) }.Distinct(StringComparer.Ordinal)];
        foreach (var name in (string[])[PublishedPolicy.GenAiDecodeGraphFileOf(_precision), .. weights])
            if (!File.Exists(Path.Combine(policy.Folder, name)))
                throw new UserErrorException($"{Path.Combine(policy.Folder, name)} does not exist", "a published policy", "Publish or import the model again");
        try
        {
            using var config = new Config(policy.Folder);
            config.Overlay(Overlay(PositionsWith(policy.Manifest.Probe)));
            return new Loaded(this, policy.Version, new Model(config), new FileInfo(Path.Combine(policy.Folder, weights[^1])).Length);
        }
        catch (OnnxRuntimeGenAIException refused)
        {
            throw new UserErrorException($"{policy.Folder} cannot be loaded by GenAI: {refused.Message}", "the graph written for these weights", "Publish or import the model again", refused);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        // versions share nothing here
    }

    // A probe may be longer than what the engine is to serve.
    private int PositionsWith(IReadOnlyList<ProbeSequence> probe) => Math.Max(_positions, probe.Count == 0 ? 0 : PolicyProbe.PositionsFor(probe));

    private string Overlay(int positions) => string.Create(CultureInfo.InvariantCulture, $$"""
        {
          "model": {
            "vocab_size": {{_config.VocabSize + 1}}, "eos_token_id": {{_config.VocabSize}}, "pad_token_id": {{_config.VocabSize}},
            "context_length": {{GenAiDecodeSession.BatchPositions(positions)}},
            "decoder": {
              "filename": "{{PublishedPolicy.GenAiDecodeGraphFileOf(_precision)}}",
              "session_options": { "intra_op_num_threads": {{_threads}}, {{string.Join(", ", OrtPolicyModel.Waiting.Select(entry => $"\"{entry.Key}\": \"{entry.Value}\""))}} }
            }
          }
        }
        """);

    private sealed class Loaded(GenAiPolicyLoader loader, PolicyVersion version, Model model, long weightBytes) : ILoadedPolicy
    {
        public long WeightBytes => weightBytes;

        public LogProbMismatch? Probe(IReadOnlyList<ProbeSequence> probe)
        {
            if (probe.Count == 0) return null;
            using var rows = new RowBuffers(PolicyProbe.Rows, loader._config.VocabSize);
            using var session = new GenAiDecodeSession(version, model, rows, loader._config.VocabSize, loader.PositionsWith(probe), ownsModel: false);
            return PolicyProbe.Check(session, rows, probe, ProbeTolerance.Of(loader._precision));
        }

        public IDecodeSession Activate() => new GenAiDecodeSession(version, model, loader._rows, loader._config.VocabSize, loader._positions, ownsModel: true);

        public void Dispose() => model.Dispose();
    }
}
