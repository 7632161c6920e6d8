// The learner: weights, optimizer and objective of one policy. Everything here runs synchronously on the calling thread; the
// caller sees to it that there is only one at a time.
//
//   TrainingBatch -> Step -> StepReport        Snapshot -> WeightSnapshot (borrowed until the next step)
//   SupervisedBatch -> SupervisedTraining      SaveState / RestoreState: bit-exact
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
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

    private readonly string _modelFolder;
    private readonly LearnerOptions _options;
    private readonly IObjective _objective;
    private readonly int? _totalBatches;
    private readonly Device _device;
    private readonly FlatParameters _parameters;
    private readonly FlatParameters? _referenceParameters;
    private readonly DecoderModel _model;
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
    {
        CheckFit(options.Validated(), objective);
        LearningRateSchedule.ForBatch(options, 1, totalBatches);
        (_modelFolder, _options, _objective, _totalBatches, _device) = (modelFolder, options, objective, totalBatches, CPU);
        using var checkpoint = HuggingFaceCheckpoint.Open(modelFolder);
        Config = checkpoint.Config;
        _parameters = new FlatParameters(Config, ScalarType.Float32, _device);
        _parameters.Load(checkpoint);
        _model = new DecoderModel(Config, _parameters);
        if (objective.Needs.HasFlag(ObjectiveNeeds.ReferencePolicy)) _referenceParameters = new FlatParameters(Config, ScalarType.Float32, _device);
        _update = new ParameterUpdate(_parameters, AdamWOptions.From(options));
        _step = new PolicyStep(_model, _referenceParameters is null ? null : new DecoderModel(Config, _referenceParameters), objective, _update, options, _device);
    }

    /// <summary>The model's architecture.</summary>
    public ModelConfig Config { get; }

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
        if (_batches == 0) _referenceParameters?.Values.copy_(_parameters.Values); // the policy as it is when this training begins
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
        if (routerBalance > 0 && Config.Mixture is null)
            throw new UserErrorException($"A router balance of {routerBalance} is asked for, but {_modelFolder} is a dense model", "0", "Leave the balance out");
        return new SupervisedTraining(_model, _parameters, options, routerBalance, _options.MaxTokensPerMicroBatch, _device);
    }

    /// <summary>Begins preference training (DPO) of the same weights with fresh moments, the present weights being its reference.</summary>
    /// <param name="options">Settings of its optimizer.</param>
    /// <param name="beta">How strongly the policy is held to the reference.</param>
    /// <returns>The caller disposes it before the learner.</returns>
    public PreferenceTraining StartPreferences(AdamWOptions options, double beta = PreferenceLoss.DefaultBeta) =>
        new(_model, _parameters, options, beta, _options.MaxTokensPerMicroBatch, _device);

    /// <summary>Log-probs of sequences under the present weights.</summary>
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
            var logProbs = _model.Evaluate(packed).LogProbs;
            for (int row = first, at = 0; row < first + count; row++)
                for (var token = 1; token <= rows[row].Length; token++) results[scored[row]][token] = (float)logProbs[at++];
        }
        return results;
    }

    /// <summary>The present weights, without a copy on the CPU: valid until the next step, restore or dispose.</summary>
    /// <param name="probeTokens">Sequences of at least two ids whose log-probs an engine will be checked with.</param>
    public WeightSnapshot Snapshot(IReadOnlyList<int[]> probeTokens)
    {
        var logProbs = LogProbs(probeTokens, ProbeTemperature);
        return new WeightSnapshot(
            Version, [.. LearnerState.WeightTensors("", _parameters, _parameters.Values)],
            [.. probeTokens.Zip(logProbs, (tokens, values) => new ProbeSequence(tokens, values))]);
    }

    /// <summary>Writes weights, moments and counts into a folder, atomically.</summary>
    public void SaveState(string folder) => LearnerState.Save(folder, _parameters, _referenceParameters, _update, Version.Value, _batches, _objective.State);

    /// <summary>Takes back what <see cref="SaveState"/> wrote; training goes on as if it had never stopped, bit for bit.</summary>
    /// <exception cref="UserErrorException">There is no state in the folder, it is broken, or of another model or objective.</exception>
    public void RestoreState(string folder)
    {
        (var version, _batches, var objective) = LearnerState.Restore(folder, _parameters, _referenceParameters, _update);
        Version = new PolicyVersion(version);
        _objective.Restore(objective);
    }

    /// <summary>Saves the present weights as a Hugging Face folder: model.safetensors in F32, beside copies of the original folder's other files.</summary>
    public void SaveModel(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var file in Directory.EnumerateFiles(_modelFolder).Where(file => !IsWeights(Path.GetFileName(file))))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        AtomicFile.Write(Path.Combine(folder, PublishedPolicy.WeightsFile), stream => SafetensorsWriter.Write(stream, [.. LearnerState.WeightTensors("", _parameters, _parameters.Values)]));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _update.Dispose();
        _parameters.Dispose();
        _referenceParameters?.Dispose();
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
