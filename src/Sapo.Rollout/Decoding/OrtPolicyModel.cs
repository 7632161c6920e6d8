// One policy version loaded into ONNX Runtime: the decode graph with its weights given to it where they lie in the mapped
// files. Nothing is copied until prepacking reorders the matrices, and that can be left out: an
// unpacked session is ready in milliseconds and decodes more slowly; a prepacked one costs a pass over all weights.
using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;

namespace Sapo.Rollout.Decoding;

/// <summary>A loaded decode graph. Owns the inference session and the mapped weights it reads.</summary>
internal sealed class OrtPolicyModel : IDisposable
{
    private readonly MappedWeights _weights;

    private OrtPolicyModel(PolicyVersion version, InferenceSession session, bool isPrepacked, Precision precision, MappedWeights weights) =>
        (Version, Session, IsPrepacked, Precision, _weights) = (version, session, isPrepacked, precision, weights);

    /// <summary>The version.</summary>
    public PolicyVersion Version { get; }

    /// <summary>The session; valid until disposal.</summary>
    public InferenceSession Session { get; }

    /// <summary>Whether its matrices were reordered for speed.</summary>
    public bool IsPrepacked { get; }

    /// <summary>What its weights are read in.</summary>
    public Precision Precision { get; }

    /// <summary>Bytes of the weights.</summary>
    public long WeightBytes => _weights.Bytes;

    /// <summary>Loads a published policy.</summary>
    /// <param name="policy">The folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="threads">Threads of one run, the caller's included.</param>
    /// <param name="prepack">Whether matrices are reordered for speed.</param>
    /// <param name="precision">What weights are read in; the folder was written for it.</param>
    /// <param name="provider">What computes: cpu or cuda.</param>
    /// <exception cref="UserErrorException">A file is missing, broken or does not fit the configuration.</exception>
    public static OrtPolicyModel Load(PublishedPolicy policy, ModelConfig config, int threads, bool prepack, Precision precision = Precision.Fp32, string provider = "cpu")
    {
        var path = Path.Combine(policy.Folder, PublishedPolicy.DecodeGraphFileOf(precision));
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a published policy", "Publish or import the model again");
        var weights = new MappedWeights();
        InferenceSession? session = null;
        try
        {
            using var options = Options(threads, prepack);
            ExecutionProvider.Append(options, provider);
            if (precision is Precision.Fp16 or Precision.Bf16) options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL; // folds the weights' casts where kernels are in 32 bits
            foreach (var (name, tensor) in weights.Map(policy.Folder, config, precision)) options.AddInitializer(name, tensor);
            session = new InferenceSession(path, options);
            DecodeGraph.Check(session, config, precision, path);
            return new OrtPolicyModel(policy.Version, session, prepack, precision, weights);
        }
        catch (Exception failure)
        {
            session?.Dispose();
            weights.Dispose();
            if (failure is OnnxRuntimeException refused)
                throw new UserErrorException($"{path} cannot be loaded: {refused.Message}", "the decode graph written for these weights", "Publish or import the model again", refused);
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Session.Dispose(); // first: it reads the weights until then
        _weights.Dispose();
        NativeHeap.ReturnFreePages();
    }

    /// <summary>What every session here is built with.</summary>
    internal static SessionOptions Options(int threads, bool prepack)
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
}
