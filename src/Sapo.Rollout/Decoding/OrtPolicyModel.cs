// One policy version loaded into ONNX Runtime: the decode graph with the weights of model.safetensors given to it where
// they lie in the mapped file. Nothing is copied until prepacking reorders the matrices, and that can be left out: an
// unpacked session is ready in milliseconds and decodes more slowly; a prepacked one costs a pass over all weights.
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Rollout.Decoding;

/// <summary>A loaded decode graph. Owns the inference session, the mapping of the weights and the tensors that point into it.</summary>
internal sealed class OrtPolicyModel : IDisposable
{
    private readonly SafetensorsFile _weights;
    private readonly List<OrtValue> _initializers;

    private OrtPolicyModel(PolicyVersion version, InferenceSession session, bool isPrepacked, SafetensorsFile weights, List<OrtValue> initializers) =>
        (Version, Session, IsPrepacked, _weights, _initializers) = (version, session, isPrepacked, weights, initializers);

    /// <summary>The version.</summary>
    public PolicyVersion Version { get; }

    /// <summary>The session; valid until disposal.</summary>
    public InferenceSession Session { get; }

    /// <summary>Whether its matrices were reordered for speed.</summary>
    public bool IsPrepacked { get; }

    /// <summary>Loads a published policy.</summary>
    /// <param name="policy">The folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="threads">Threads of one run, the caller's included.</param>
    /// <param name="prepack">Whether matrices are reordered for speed.</param>
    /// <exception cref="UserErrorException">A file is missing, broken or does not fit the configuration.</exception>
    public static OrtPolicyModel Load(PublishedPolicy policy, ModelConfig config, int threads, bool prepack)
    {
        var path = Path.Combine(policy.Folder, PublishedPolicy.DecodeGraphFile);
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a published policy", "Publish or import the model again");
        var weights = SafetensorsFile.Open(Path.Combine(policy.Folder, PublishedPolicy.WeightsFile));
        var initializers = new List<OrtValue>();
        InferenceSession? session = null;
        try
        {
            using var options = Options(threads, prepack);
            foreach (var (name, shape) in config.Parameters())
            {
                var initializer = Initializer(weights, name, shape);
                initializers.Add(initializer);
                options.AddInitializer(name, initializer);
            }
            session = new InferenceSession(path, options);
            DecodeGraph.Check(session, config, path);
            return new OrtPolicyModel(policy.Version, session, prepack, weights, initializers);
        }
        catch (Exception failure)
        {
            session?.Dispose();
            foreach (var initializer in initializers) initializer.Dispose();
            weights.Dispose();
            if (failure is OnnxRuntimeException refused)
                throw new UserErrorException($"{path} cannot be loaded: {refused.Message}", "the decode graph written for these weights", "Publish or import the model again", refused);
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Session.Dispose(); // first: it reads the initializers until then
        foreach (var initializer in _initializers) initializer.Dispose();
        _weights.Dispose();
        NativeHeap.ReturnFreePages();
    }

    private static SessionOptions Options(int threads, bool prepack)
    {
        var options = new SessionOptions
        {
            IntraOpNumThreads = threads,
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL, // the graph is written in its final form: looking for fusions took half of the build
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
        };
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"); // the cores are shared with the learner
        if (!prepack) options.AddSessionConfigEntry("session.disable_prepacking", "1");
        return options;
    }

    private static OrtValue Initializer(SafetensorsFile weights, string name, long[] shape)
    {
        var entry = weights.Find(name) ?? throw Unfit(weights, $"has no {name}");
        if (entry.Type != WeightType.F32 || !entry.Shape.AsSpan().SequenceEqual(shape))
            throw Unfit(weights, $"holds {name} as {entry.Type} [{string.Join(", ", entry.Shape)}], config.json implies F32 [{string.Join(", ", shape)}]");
        return OrtValue.CreateTensorValueWithData(OrtMemoryInfo.DefaultInstance, TensorElementType.Float, shape, weights.AddressOf(entry), entry.Bytes);
    }

    private static UserErrorException Unfit(SafetensorsFile weights, string what) =>
        new($"{weights.Path} {what}", null, "Publish or import the model again");
}
