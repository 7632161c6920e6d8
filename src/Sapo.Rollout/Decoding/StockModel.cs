// A folder of ONNX Runtime GenAI's model builder, run as it is: its graph gives logits, the sampling head beside it draws.
using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>A loaded stock graph with its sampling head. Owns both inference sessions.</summary>
internal sealed class StockModel : IDisposable
{
    private const string Expected = "a plain decoder with GroupQueryAttention, as the model builder writes it for the CPU", Remedy = "Import the Hugging Face folder that it was built from";

    private const int TrialPositions = 4;

    private readonly IReadOnlyDictionary<string, string> _names;

    private StockModel(PublishedPolicy policy, StockModelConfig config, InferenceSession session, InferenceSession head, bool isPrepacked, string path)
    {
        (Version, Session, Head, IsPrepacked, _names) = (policy.Version, session, head, isPrepacked, config.Names);
        Config = Check(config, path);
        WeightBytes = policy.Manifest.Files.Where(file => file.Name.StartsWith(config.GraphFile, StringComparison.Ordinal)).Sum(file => file.Bytes);
    }

    /// <summary>The version.</summary>
    public PolicyVersion Version { get; }

    /// <summary>The stock graph: ids, attention mask and caches in, logits out.</summary>
    public InferenceSession Session { get; }

    /// <summary>The sampling head over logits [rows, vocabulary].</summary>
    public InferenceSession Head { get; }

    /// <summary>Whether the graph's matrices were reordered for speed.</summary>
    public bool IsPrepacked { get; }

    /// <summary>What decoding needs to know of the model. What a stock folder does not tell (widths of the layers) is 0.</summary>
    public ModelConfig Config { get; }

    /// <summary>Bytes of graph and weights.</summary>
    public long WeightBytes { get; }

    /// <summary>The graph's name of an input or output that has one name.</summary>
    public string NameOf(string genAiName) => _names[genAiName];

    /// <summary>The input of a layer's keys or values so far.</summary>
    public string Past(int layer, bool keys) => Layered(keys ? "past_key_names" : "past_value_names", layer);

    /// <summary>The output of a layer's keys or values.</summary>
    public string Present(int layer, bool keys) => Layered(keys ? "present_key_names" : "present_value_names", layer);

    /// <summary>Loads a folder.</summary>
    /// <param name="policy">An imported stock folder.</param>
    /// <param name="threads">Threads of one run, the caller's included.</param>
    /// <param name="prepack">Whether matrices are reordered for speed.</param>
    /// <exception cref="UserErrorException">The graph cannot be loaded, or is of a form that would not be run rightly.</exception>
    public static StockModel Load(PublishedPolicy policy, int threads, bool prepack)
    {
        var config = StockModelConfig.Read(policy.Folder);
        var path = Path.Combine(policy.Folder, config.GraphFile);
        InferenceSession? session = null, head = null;
        try
        {
            using var options = OrtPolicyModel.Options(threads, prepack);
            options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL; // somebody else wrote it: there is something to fold
            session = new InferenceSession(path, options);
            head = new InferenceSession(Path.Combine(policy.Folder, PublishedPolicy.SamplingHeadFile), options);
            var model = new StockModel(policy, config, session, head, prepack, path);
            model.TryOut();
            return model;
        }
        catch (Exception failure)
        {
            session?.Dispose();
            head?.Dispose();
            if (failure is OnnxRuntimeException refused) throw new UserErrorException($"{path} cannot be run: {refused.Message}", Expected, Remedy, refused);
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Session.Dispose();
        Head.Dispose();
        NativeHeap.ReturnFreePages();
    }

    // Some of what does not fit shows only when the graph runs: shapes that it leaves open, names of caches.
    private void TryOut()
    {
        using var rows = new RowBuffers(2, Config.VocabSize, TrialPositions);
        using var cache = new KeyValueCache(Config, 2, TrialPositions);
        using var session = new StockDecodeSession(this, cache, rows, ownsModel: false);
        session.Prefill(0, [0, 0], 0);
        rows.Lengths.Span[0] = 2;
        session.Decode(0, 2, truncate: false);
    }

    private ModelConfig Check(StockModelConfig config, string path)
    {
        var layers = 0;
        while (Session.InputMetadata.ContainsKey(Past(layers, keys: true))) layers++;
        if (layers == 0) throw Unfit(path, $"has no input {Past(0, keys: true)}");
        var known = new HashSet<string>(StringComparer.Ordinal) { NameOf("input_ids"), NameOf("attention_mask") };
        for (var layer = 0; layer < layers; layer++)
            foreach (var keys in new[] { true, false })
            {
                known.Add(Past(layer, keys));
                if (!Session.OutputMetadata.ContainsKey(Present(layer, keys))) throw Unfit(path, $"has no output {Present(layer, keys)}");
            }
        foreach (var name in known.Except(Session.InputMetadata.Keys, StringComparer.Ordinal)) throw Unfit(path, $"has no input {name}");
        foreach (var name in Session.InputMetadata.Keys.Except(known, StringComparer.Ordinal)) throw Unfit(path, $"wants the input {name}, which is not supported");
        CheckLogits(config, path);
        return new ModelConfig
        {
            ModelType = config.Type,
            VocabSize = config.VocabSize,
            MaxPositions = config.ContextLength,
            LayerCount = layers,
            KeyValueHeadCount = Heads(config, path),
            HeadSize = config.HeadSize,
            EndTokenIds = config.EndTokenIds,
            SlidingWindows = new int?[layers],
            HiddenSize = 0,
            HeadCount = 0,
            IntermediateSize = 0,
        };
    }

    private void CheckLogits(StockModelConfig config, string path)
    {
        if (!Session.OutputMetadata.TryGetValue(NameOf("logits"), out var logits)) throw Unfit(path, $"has no output {NameOf("logits")}");
        if (logits.ElementType != typeof(float)) throw Unfit(path, $"gives logits as {logits.ElementType.Name}; Single is wanted");
        if (logits.Dimensions is not [_, _, var width] || (width > 0 && width != config.VocabSize))
            throw Unfit(path, $"gives logits [{string.Join(", ", logits.Dimensions)}], {StockModelConfig.FileName} says model.vocab_size {config.VocabSize}");
    }

    private int Heads(StockModelConfig config, string path)
    {
        var name = Past(0, keys: true);
        var cache = Session.InputMetadata[name];
        if (cache.ElementType != typeof(float) || cache.Dimensions is not [_, var heads, _, var size] || heads < 1 || (size > 0 && size != config.HeadSize))
            throw Unfit(path, $"has {name} as {cache.ElementType.Name} [{string.Join(", ", cache.Dimensions)}]; Single [rows, heads, positions, {config.HeadSize}] is wanted, as model.decoder.head_size says");
        return heads;
    }

    private string Layered(string genAiName, int layer) => _names[genAiName].Replace("%d", layer.ToString(), StringComparison.Ordinal);

    private static UserErrorException Unfit(string path, string what) => new($"{path} {what}", Expected, Remedy);
}
