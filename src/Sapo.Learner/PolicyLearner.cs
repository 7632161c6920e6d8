// The learner: weights, optimizer and objective of one policy. Everything here runs synchronously on the calling thread; the
// caller sees to it that there is only one at a time.
//
//   TrainingBatch -> Step -> StepReport        Snapshot -> WeightSnapshot (borrowed until the next step)
//   SupervisedBatch -> SupervisedTraining      SaveState / RestoreState: bit-exact
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>Trains a causal language model from judged groups. Owns weights, gradients and moments; not thread-safe.</summary>
public sealed class PolicyLearner : IDisposable
{
    private const double ProbeTemperature = 1; // ProbeSequence is defined at temperature 1

    private readonly PolicySource _source;
    private readonly LearnerOptions _options;
    private readonly IObjective _objective;
    private readonly int? _totalBatches;
    private readonly Device _device;
    private readonly PolicyWeights _weights;
    private readonly MergedWeights _merged;
    private readonly ReferencePolicy? _reference;
    private readonly DecoderModel _model, _precise;
    private readonly ParameterUpdate _update;
    private readonly PolicyStep _step;
    private long _batches;

    /// <summary>Loads a Hugging Face folder.</summary>
    /// <param name="modelFolder">config.json and safetensors of a supported architecture; F16 and BF16 are widened.</param>
    /// <param name="options">The learner's options.</param>
    /// <param name="objective">What is optimised.</param>
    /// <param name="totalBatches">Rollout batches of the whole run, for schedules that end; null if unknown.</param>
    /// <exception cref="UserErrorException">The folder is broken or not supported, or options and objective do not fit together.</exception>
    public PolicyLearner(string modelFolder, LearnerOptions options, IObjective objective, int? totalBatches = null)
        : this(new PolicySource(modelFolder), options, objective, totalBatches)
    {
    }

    /// <summary>Loads a policy: a Hugging Face folder, and an adapter beside it where low-rank adaptation is used.</summary>
    /// <param name="source">The folders.</param>
    /// <param name="options">The learner's options.</param>
    /// <param name="objective">What is optimised.</param>
    /// <param name="totalBatches">Rollout batches of the whole run, for schedules that end; null if unknown.</param>
    /// <exception cref="UserErrorException">A folder is broken or not supported, or folders, options and objective do not fit together.</exception>
    public PolicyLearner(PolicySource source, LearnerOptions options, IObjective objective, int? totalBatches = null)
    {
        CheckFit(options.Validated(), objective);
        LearningRateSchedule.ForBatch(options, 1, totalBatches);
        (_source, _options, _objective, _totalBatches, _device) = (source, options, objective, totalBatches, CPU);
        using var checkpoint = HuggingFaceCheckpoint.Open(source.ModelFolder);
        Config = checkpoint.Config;
        RefuseBalanceOfDense(options.RouterBalance, "learner.routerBalance");
        try
        {
            var adapter = AdapterOf(source, options, Config, _device);
            _weights = new PolicyWeights(new FlatParameters(Config, ScalarType.Float32, _device, frozen: adapter is not null), adapter, ComputeOptions.From(options));
            _weights.Checkpoint.Load(checkpoint);
            _model = new DecoderModel(Config, _weights);
            _precise = _weights.Compute.ProductType is null ? _model : new DecoderModel(Config, _weights.Plain());
            if (objective.Needs.HasFlag(ObjectiveNeeds.ReferencePolicy)) _reference = ReferenceOf(source, Config, _weights, _device);
            _merged = new MergedWeights(_weights);
            _update = new ParameterUpdate(_weights.Trained, AdamWOptions.From(options));
            _step = new PolicyStep(_model, _reference?.Model, objective, _update, options, _device);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The model's architecture.</summary>
    public ModelConfig Config { get; }

    /// <summary>Whether an adapter is trained instead of the model's own weights.</summary>
    public bool IsAdapted => _weights.Adapter is not null;

    /// <summary>Number of parameters that are trained.</summary>
    public long TrainedParameterCount => _weights.Trained.Values.shape[0];

    /// <summary>Which policy version the weights are: 0 at first, 1 more after every <see cref="Step"/>.</summary>
    public PolicyVersion Version { get; private set; }

    /// <summary>Optimizer steps skipped because the gradient was not finite.</summary>
    public long SkippedUpdates => _update.Skipped;

    /// <summary>Learns from a rollout batch: one optimizer step per mini-batch. The version advances by 1.</summary>
    /// <exception cref="UserErrorException">A token id is outside the vocabulary, or a number in the batch is not finite.</exception>
    /// <exception cref="TrainingDivergedException">The gradient was not finite three times in a row.</exception>
    public StepReport Step(TrainingBatch batch)
    {
        foreach (var row in batch.MiniBatches.SelectMany(miniBatch => miniBatch.Rows)) Check(row);
        using var scope = NewDisposeScope();
        if (_batches == 0) _reference?.Renew(_weights); // the policy as it is when this training begins
        var report = _step.Run(batch, LearningRateSchedule.ForBatch(_options, _batches + 1, _totalBatches), Version.Next);
        _batches++;
        Version = Version.Next;
        return report;
    }

    /// <summary>Begins supervised training of the same weights with fresh moments; the moments of <see cref="Step"/> are not touched.</summary>
    /// <param name="options">Settings of its optimizer.</param>
    /// <param name="routerBalance">
    /// Of a mixture of experts: weight of the load-balance loss over the tokens of each micro-batch, such as the model's own
    /// <see cref="MixtureConfig.RouterAuxLossCoefficient"/>; 0 leaves it out.
    /// </param>
    /// <returns>The caller disposes it before the learner.</returns>
    /// <exception cref="UserErrorException">A balance is asked for, but the model has no experts.</exception>
    public SupervisedTraining StartSupervised(AdamWOptions options, double routerBalance = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(routerBalance);
        RefuseBalanceOfDense(routerBalance, nameof(routerBalance));
        return new SupervisedTraining(_model, options, routerBalance, _options.MaxTokensPerMicroBatch, _device);
    }

    /// <summary>Begins preference training (DPO) of the same weights with fresh moments, the present weights being its reference.</summary>
    /// <param name="options">Settings of its optimizer.</param>
    /// <param name="beta">How strongly the policy is held to the reference.</param>
    /// <returns>The caller disposes it before the learner.</returns>
    public PreferenceTraining StartPreferences(AdamWOptions options, double beta = PreferenceLoss.DefaultBeta) =>
        new(_model, options, beta, _options.MaxTokensPerMicroBatch, _device);

    /// <summary>Log-probs of sequences under the present weights, computed in Float32 throughout, as an engine does, whatever steps are computed in.</summary>
    /// <param name="sequences">Token ids, at least one each.</param>
    /// <param name="temperature">Divides the logits, above 0.</param>
    /// <returns>Per token the natural log of its probability given those before it; 0 for a sequence's first token.</returns>
    public float[][] LogProbs(IReadOnlyList<int[]> sequences, double temperature)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        using var scope = NewDisposeScope();
        var results = sequences.Select(sequence => new float[sequence.Length]).ToArray();
        foreach (var sequence in sequences) TokenIdCheck.Validate(sequence, Config.VocabSize, "a sequence");
        int[] scored = [.. Enumerable.Range(0, sequences.Count).Where(index => sequences[index].Length > 1)];
        var rows = Array.ConvertAll(scored, index => new TrainingRow(sequences[index][..1], new TokenRow(sequences[index][1..]), temperature, [], [], Masked: false));
        foreach (var (first, count) in MicroBatchPlan.Split(rows, _options.MaxTokensPerMicroBatch))
        {
            using var packed = MicroBatchPlan.Pack(rows[first..(first + count)], _device);
            var logProbs = _precise.Evaluate(packed).LogProbs;
            for (int row = first, at = 0; row < first + count; row++)
                for (var token = 1; token <= rows[row].Length; token++) results[scored[row]][token] = (float)logProbs[at++];
        }
        return results;
    }

    /// <summary>
    /// The present weights, an adapter merged into those it adapts and everything else without a copy: valid until the next step,
    /// snapshot, restore or dispose. The probe's log-probs are computed with the adapter as it is, not from the merged weights.
    /// </summary>
    /// <param name="probeTokens">Sequences of at least two ids whose log-probs an engine will be checked with.</param>
    public WeightSnapshot Snapshot(IReadOnlyList<int[]> probeTokens)
    {
        var logProbs = LogProbs(probeTokens, ProbeTemperature);
        return new WeightSnapshot(
            Version, _merged.Tensors(),
            [.. probeTokens.Zip(logProbs, (tokens, values) => new ProbeSequence(tokens, values))]);
    }

    /// <summary>Writes what is trained, with an adapter that alone, its moments and the counts into a folder, atomically.</summary>
    public void SaveState(string folder) => LearnerState.Save(folder, _weights.Trained, _reference?.Copied, _update, Version.Value, _batches, _objective.State);

    /// <summary>Takes back what <see cref="SaveState"/> wrote; training goes on as if it had never stopped, bit for bit.</summary>
    /// <exception cref="UserErrorException">There is no state in the folder, it is broken, or of another model or objective.</exception>
    public void RestoreState(string folder)
    {
        (var version, _batches, var objective) = LearnerState.Restore(folder, _weights.Trained, _reference?.Copied, _update);
        Version = new PolicyVersion(version);
        _objective.Restore(objective);
    }

    /// <summary>Saves the adapter in PEFT's format: adapter_config.json and adapter_model.safetensors.</summary>
    /// <exception cref="InvalidOperationException">There is none: see <see cref="IsAdapted"/>.</exception>
    public void SaveAdapter(string folder) =>
        AdapterFolder.Write(folder, _weights.Adapter ?? throw new InvalidOperationException("This learner trains the model's own weights."), _source.ModelFolder);

    /// <summary>Saves the present weights, an adapter merged in, as a Hugging Face folder: model.safetensors in F32, beside copies of the original folder's other files.</summary>
    public void SaveModel(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var file in Directory.EnumerateFiles(_source.ModelFolder).Where(file => !IsWeights(Path.GetFileName(file))))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        AtomicFile.Write(Path.Combine(folder, PublishedPolicy.WeightsFile), stream => SafetensorsWriter.Write(stream, _merged.Tensors()));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _update?.Dispose(); // a constructor that fails leaves what comes after the failure null
        _reference?.Dispose();
        _merged?.Dispose();
        _weights?.Adapter?.Dispose();
        _weights?.Checkpoint.Dispose();
    }

    private void RefuseBalanceOfDense(double routerBalance, string name)
    {
        if (routerBalance > 0 && Config.Mixture is null)
            throw new UserErrorException($"{name} is {routerBalance}, but {_source.ModelFolder} is a dense model", "0", "Leave the balance out");
    }

    private static LowRankAdapter? AdapterOf(PolicySource source, LearnerOptions options, ModelConfig config, Device device)
    {
        if (source.AdapterFolder is { } folder)
        {
            if (options.Lora is not null) throw new ArgumentException("An adapter to start from brings its own low-rank options.", nameof(options));
            var (read, dropout) = AdapterFolder.Read(folder, config, ScalarType.Float32, device);
            if (dropout == 0) return read;
            read.Dispose();
            throw new UserErrorException(
                $"{Path.Combine(folder, AdapterConfig.FileName)}: lora_dropout is {dropout}", "0: a policy is trained with the log-probs it samples with", "Set it to 0; the adapter's weights stay what they are");
        }
        if (options.Lora is not { } lora) return null;
        LowRankAdapter.RefuseUnused(lora, config);
        var adapter = new LowRankAdapter(lora, config, ScalarType.Float32, device);
        adapter.Initialize(source.Seed);
        return adapter;
    }

    private static ReferencePolicy ReferenceOf(PolicySource source, ModelConfig config, PolicyWeights weights, Device device)
    {
        if (source.ReferenceFolder is not { } folder) return ReferencePolicy.CopyOf(config, weights);
        var isBase = string.Equals(Path.GetFullPath(folder), Path.GetFullPath(source.ModelFolder), StringComparison.Ordinal);
        return isBase && weights.Adapter is not null ? ReferencePolicy.BaseOf(config, weights) : ReferencePolicy.Load(folder, config, weights.Compute, device);
    }

    private static bool IsWeights(string name) =>
        name.EndsWith(".safetensors", StringComparison.Ordinal) || name.EndsWith(".safetensors.index.json", StringComparison.Ordinal);

    private static void CheckFit(LearnerOptions options, IObjective objective)
    {
        var required = objective.RequiredAnchor switch
        {
            AnchorPolicy.Old => LearnerOptions.RecomputedAnchor,
            AnchorPolicy.Sampler => LearnerOptions.BehaviourAnchor,
            _ => options.Anchor,
        };
        if (required != options.Anchor)
            throw new UserErrorException($"learner.anchor is {options.Anchor}", $"{required} with objective {objective.Name} as it is set", $"Set learner.anchor to {required}, or change the objective");
    }

    private void Check(TrainingRow row)
    {
        TokenIdCheck.Validate(row.Prompt, Config.VocabSize, "a prompt");
        TokenIdCheck.Validate(row.Tokens.TokenIds, Config.VocabSize, "a completion");
        foreach (var kept in row.Tokens.KeptTokenIds ?? []) TokenIdCheck.Validate(kept, Config.VocabSize, "a token's kept ids");
    }
}
