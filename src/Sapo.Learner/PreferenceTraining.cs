using Sapo.Core;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>A prompt with a preferred and another completion.</summary>
/// <param name="PromptTokenIds">At least one id.</param>
/// <param name="ChosenTokenIds">The preferred completion, at least one id.</param>
/// <param name="RejectedTokenIds">The other one, at least one id.</param>
public sealed record PreferenceExample(int[] PromptTokenIds, int[] ChosenTokenIds, int[] RejectedTokenIds);

/// <summary>What one preference step did.</summary>
/// <param name="Loss">Mean over pairs of -log sigmoid(margin), before the update.</param>
/// <param name="Accuracy">Share of pairs with a positive margin.</param>
/// <param name="MeanMargin">Mean margin.</param>
/// <param name="GradientNorm">2-norm of all gradients before clipping.</param>
/// <param name="Skipped">True when the gradient was not finite and nothing was updated.</param>
public sealed record PreferenceReport(double Loss, double Accuracy, double MeanMargin, double GradientNorm, bool Skipped);

/// <summary>
/// DPO steps (<see cref="PreferenceLoss"/>) on a learner's weights, with an optimizer of their own. The reference is the policy
/// as it is when this object is made.
/// </summary>
public sealed class PreferenceTraining : IDisposable
{
    private readonly DecoderModel _model;
    private readonly ReferencePolicy _reference;
    private readonly ParameterUpdate _update;
    private readonly double _beta;
    private readonly int _maxTokens;
    private readonly Device _device;

    internal PreferenceTraining(DecoderModel model, AdamWOptions options, double beta, int maxTokens, Device device)
    {
        (_model, _beta, _maxTokens, _device) = (model, beta, maxTokens, device);
        _reference = ReferencePolicy.CopyOf(model.Config, model.Weights);
        _update = new ParameterUpdate(model.Weights.Trained, options);
    }

    /// <summary>One optimizer step on the mean loss of some pairs.</summary>
    /// <exception cref="UserErrorException">An id is outside the vocabulary, or a prompt or completion is empty.</exception>
    /// <exception cref="TrainingDivergedException">The gradient was not finite three times in a row.</exception>
    public PreferenceReport Step(IReadOnlyList<PreferenceExample> pairs, double learningRate)
    {
        if (pairs.Count == 0) throw new ArgumentException("There is no pair.", nameof(pairs));
        using var scope = NewDisposeScope();
        TrainingRow[] rows = [.. pairs.SelectMany(Rows)];
        double loss = 0;
        var margins = new List<double>();
        foreach (var (first, count) in PairSplits(rows))
        {
            using var packed = MicroBatchPlan.Pack(rows[first..(first + count)], _device);
            using var pass = _model.Forward(packed);
            var part = rows[first..(first + count)];
            var reference = _reference.Model.Evaluate(packed).LogProbs;
            using var headInput = _model.TrainHead(
                pass,
                span =>
                {
                    var result = Evaluate(part, span.Values.LogProbs, reference, pairs.Count);
                    loss += result.Loss;
                    margins.AddRange(result.Margins);
                    return new HeadSlopes([.. part.SelectMany((row, index) => Enumerable.Repeat((index % 2 == 0 ? result.ChosenGradients : result.RejectedGradients)[index / 2], row.Length))]);
                },
                atOnce: true); // a pair's loss needs both log-probs
            _model.BackwardLayers(pass, headInput);
        }
        var updated = _update.Apply(learningRate);
        return new PreferenceReport(loss, (double)margins.Count(margin => margin > 0) / margins.Count, margins.Average(), updated.GradientNorm, updated.SkippedFor is not null);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _update.Dispose();
        _reference.Dispose();
    }

    private PreferenceResult Evaluate(TrainingRow[] rows, double[] current, double[] reference, int totalPairs)
    {
        var pairs = new List<PairLogProbs>();
        var start = 0;
        for (var row = 0; row < rows.Length; row += 2)
        {
            var (middle, end) = (start + rows[row].Length, start + rows[row].Length + rows[row + 1].Length);
            pairs.Add(new PairLogProbs(current[start..middle], current[middle..end], reference[start..middle].Sum(), reference[middle..end].Sum()));
            start = end;
        }
        return PreferenceLoss.Evaluate(pairs, _beta, totalPairs);
    }

    /// <summary>Micro-batches of whole pairs: a pair's loss needs both log-probs.</summary>
    private IEnumerable<(int First, int Count)> PairSplits(TrainingRow[] rows)
    {
        int first = 0, tokens = 0;
        for (var row = 0; row < rows.Length; row += 2)
        {
            var added = rows[row].Prompt.Length + rows[row].Length + rows[row + 1].Length - 2;
            if (row > first && tokens + added > _maxTokens)
            {
                yield return (first, row - first);
                (first, tokens) = (row, 0);
            }
            tokens += added;
        }
        yield return (first, rows.Length - first);
    }

    private IEnumerable<TrainingRow> Rows(PreferenceExample pair)
    {
        foreach (var (ids, what) in new[] { (pair.PromptTokenIds, "a prompt"), (pair.ChosenTokenIds, "a chosen completion"), (pair.RejectedTokenIds, "a rejected completion") })
        {
            if (ids.Length == 0) throw new UserErrorException($"A preference pair has {what} without tokens", "at least one token each", "Leave the pair out");
            TokenIdCheck.Validate(ids, _model.Config.VocabSize, what);
        }
        yield return new TrainingRow(pair.PromptTokenIds, new TokenRow(pair.ChosenTokenIds), 1, [], [], Masked: false);
        yield return new TrainingRow(pair.PromptTokenIds, new TokenRow(pair.RejectedTokenIds), 1, [], [], Masked: false);
    }
}
