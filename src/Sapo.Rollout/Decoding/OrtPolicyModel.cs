// One policy version in ONNX Runtime: a decode graph and its weights, which are used where they lie in the mapped files.
//   with our own products   the graph takes weights as inputs: one session serves every version, and a version is ready when its file is mapped
//   with ONNX Runtime's     the graph holds them as initializers: each version is a session. Prepacking reorders the matrices, which costs
//                           a pass over all weights; left out, the session is ready in milliseconds and decodes more slowly
using Microsoft.ML.OnnxRuntime;
using Sapo.Core.Models;
using Sapo.Rollout.Kernels;

namespace Sapo.Rollout.Decoding;

/// <summary>A loaded version. Owns the mapped weights and, unless versions share it, the inference session.</summary>
internal sealed class OrtPolicyModel : IDisposable
{
    /// <summary>
    /// How a session's threads wait for the next operator of a step: awake, because waking one takes as long as a small operator, for
    /// 50 microseconds, longer than what one thread does between two operators; then asleep, because the cores are shared.
    /// </summary>
    internal static readonly (string Key, string Value)[] Waiting = [("session.intra_op.allow_spinning", "1"), ("session.intra_op.spin_duration_us", "50")];

    private readonly MappedWeights _weights;
    private readonly IReadOnlyList<(string Name, OrtValue Tensor)> _inputs;
    private readonly bool _ownsSession;

    private OrtPolicyModel(PolicyVersion version, InferenceSession session, MappedWeights weights, IReadOnlyList<(string Name, OrtValue Tensor)> inputs, bool ownsSession) =>
        (Version, Session, _weights, _inputs, _ownsSession) = (version, session, weights, inputs, ownsSession);

    /// <summary>The version.</summary>
    public PolicyVersion Version { get; }

    /// <summary>The session; valid until disposal, or until that of its owner.</summary>
    public InferenceSession Session { get; }

    /// <summary>Whether a row's products are the same, to the last bit, alone and beside others.</summary>
    public required bool MultipliesSingleRowsAlike { get; init; }

    /// <summary>Whether its kernels are our own.</summary>
    public bool IsDirect => !_ownsSession;

    /// <summary>What its weights are read in.</summary>
    public required Precision Precision { get; init; }

    /// <summary>Bytes of the weights.</summary>
    public long WeightBytes => _weights.Bytes;

    /// <summary>Loads a published policy into a session of its own, with ONNX Runtime's products.</summary>
    /// <param name="policy">The folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="threads">Threads of one run, the caller's included.</param>
    /// <param name="prepack">Whether matrices are reordered for speed.</param>
    /// <param name="precision">What weights are read in; the folder was written for it.</param>
    /// <param name="provider">What computes: cpu or cuda.</param>
    /// <exception cref="UserErrorException">A file is missing, broken or does not fit the configuration.</exception>
    public static OrtPolicyModel Load(PublishedPolicy policy, ModelConfig config, int threads, bool prepack, Precision precision = Precision.Fp32, string provider = "cpu")
    {
        var weights = new MappedWeights();
        try
        {
            using var options = Options(threads, prepack);
            ExecutionProvider.Append(options, provider);
            if (precision is Precision.Fp16 or Precision.Bf16) options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL; // folds the weights' casts where kernels are in 32 bits
            foreach (var (name, tensor) in weights.Map(policy.Folder, config, precision)) options.AddInitializer(name, tensor);
            var session = Open(policy, PublishedPolicy.DecodeGraphFileOf(precision), config, precision, direct: false, options);
            return new OrtPolicyModel(policy.Version, session, weights, inputs: [], ownsSession: true) { MultipliesSingleRowsAlike = prepack, Precision = precision };
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Loads a published policy for our own products.</summary>
    /// <param name="policy">The folder.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="session">What <see cref="DirectSession"/> gave for a policy of the same model; outlives this one.</param>
    /// <exception cref="UserErrorException">The weights are missing, broken or do not fit the configuration.</exception>
    public static OrtPolicyModel LoadDirect(PublishedPolicy policy, ModelConfig config, InferenceSession session)
    {
        var weights = new MappedWeights();
        try
        {
            return new OrtPolicyModel(policy.Version, session, weights, [.. weights.Map(policy.Folder, config, Precision.Fp32)], ownsSession: false) { MultipliesSingleRowsAlike = true, Precision = Precision.Fp32 };
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>The session that serves every version of a model with our own products.</summary>
    /// <param name="policy">A folder of the model.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="threads">Threads of one run, the caller's included.</param>
    /// <exception cref="UserErrorException">The graph is missing, broken or does not fit the configuration.</exception>
    public static InferenceSession DirectSession(PublishedPolicy policy, ModelConfig config, int threads)
    {
        using var options = Options(threads, prepack: false);
        KernelOperators.Register(options, threads);
        return Open(policy, PublishedPolicy.DirectGraphFile, config, Precision.Fp32, direct: true, options);
    }

    /// <summary>Binds what the graph takes as inputs.</summary>
    public void BindWeights(OrtIoBinding binding)
    {
        foreach (var (name, tensor) in _inputs) binding.BindInput(name, tensor);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (_ownsSession) Session.Dispose(); // first: it reads the weights until then
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
        foreach (var (key, value) in Waiting) options.AddSessionConfigEntry(key, value);
        if (!prepack) options.AddSessionConfigEntry("session.disable_prepacking", "1");
        return options;
    }

    private static InferenceSession Open(PublishedPolicy policy, string name, ModelConfig config, Precision precision, bool direct, SessionOptions options)
    {
        var path = Path.Combine(policy.Folder, name);
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a published policy", "Publish or import the model again");
        InferenceSession? session = null;
        try
        {
            session = new InferenceSession(path, options);
            DecodeGraph.Check(session, config, precision, direct, path);
            return session;
        }
        catch (Exception failure)
        {
            session?.Dispose();
            if (failure is OnnxRuntimeException refused)
                throw new UserErrorException($"{path} cannot be loaded: {refused.Message}", "the decode graph written for these weights", "Publish or import the model again", refused);
            throw;
        }
    }
}
