using Sapo.Core;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>Supervised steps on a learner's weights, with an optimizer of their own: its moments begin and end with this object.</summary>
public sealed class SupervisedTraining : IDisposable
{
    private readonly DecoderModel _model;
    private readonly ParameterUpdate _update;
    private readonly double _routerBalance;
    private readonly int _maxTokens;
    private readonly Device _device;

    internal SupervisedTraining(DecoderModel model, AdamWOptions options, double routerBalance, int maxTokens, Device device)
    {
        (_model, _routerBalance, _maxTokens, _device) = (model, routerBalance, maxTokens, device);
        _update = new ParameterUpdate(model.Weights.Trained, options);
    }

    /// <summary>One optimizer step on the mean cross-entropy over all completion tokens of a batch.</summary>
    /// <param name="batch">The examples.</param>
    /// <param name="learningRate">Of this step.</param>
    /// <exception cref="UserErrorException">No completion has tokens, or an id is outside the vocabulary.</exception>
    /// <exception cref="TrainingDivergedException">The gradient was not finite three times in a row.</exception>
    public SupervisedReport Step(SupervisedBatch batch, double learningRate)
    {
        using var scope = NewDisposeScope();
        var rows = batch.Examples.Where(example => example.CompletionTokenIds.Length > 0).Select(ToRow).ToArray();
        if (rows.Length == 0) throw new UserErrorException("The batch has no completion tokens", "at least one example with a completion", "Correct the examples");
        var trained = rows.Sum(row => row.Length);
        double loss = 0, entropy = 0;
        var computed = 0;
        foreach (var (first, count) in MicroBatchPlan.Split(rows, _maxTokens))
        {
            using var packed = MicroBatchPlan.Pack(rows[first..(first + count)], _device);
            using var pass = _model.Forward(packed);
            using var headInput = _model.TrainHead(pass, span =>
            {
                loss -= span.Values.LogProbs.Sum() / trained;
                entropy += span.Values.Entropies.Sum() / trained;
                return new HeadSlopes([.. Enumerable.Repeat(-1.0 / trained, span.Values.LogProbs.Length)]);
            });
            _model.BackwardLayers(pass, headInput, _routerBalance * packed.Targets.Length / trained);
            computed += packed.TokenCount;
        }
        var updated = _update.Apply(learningRate);
        return new SupervisedReport
        {
            Loss = loss, Entropy = entropy, GradientNorm = updated.GradientNorm, Skipped = updated.SkippedFor is not null, TrainedTokens = trained, ComputedTokens = computed,
        };
    }

    /// <summary>Writes the weights, this training's own moments and its counts into a folder, in the form of <see cref="PolicyLearner.SaveState"/>.</summary>
    public void SaveState(string folder) =>
        LearnerState.Save(folder, _model.Weights.Trained, reference: null, _update, version: 0, batches: 0, new Dictionary<string, double>(StringComparer.Ordinal));

    /// <summary>Takes back what <see cref="SaveState"/> wrote; training goes on as if it had never stopped, bit for bit.</summary>
    /// <exception cref="UserErrorException">There is no state in the folder, it is broken, or of another model.</exception>
    public void RestoreState(string folder) => LearnerState.Restore(folder, _model.Weights.Trained, reference: null, _update);

    /// <inheritdoc />
    public void Dispose() => _update.Dispose();

    private TrainingRow ToRow(SupervisedExample example)
    {
        TokenIdCheck.Validate(example.PromptTokenIds, _model.Config.VocabSize, "a prompt");
        TokenIdCheck.Validate(example.CompletionTokenIds, _model.Config.VocabSize, "a completion");
        if (example.PromptTokenIds.Length == 0) throw new UserErrorException("An example has no prompt tokens", "at least one", "Begin prompts with the model's begin-of-sequence token");
        return new TrainingRow(example.PromptTokenIds, new TokenRow(example.CompletionTokenIds), 1, [], [], Masked: false);
    }
}
