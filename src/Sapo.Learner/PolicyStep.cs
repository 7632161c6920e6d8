// One rollout batch -> one optimizer step per mini-batch.
//
//   [anchor]     log-probs of the old policy (and of a reference policy) for all rows, where something needs them; where the
//                objective compares whole distributions, also what the old ones can be computed from again
//   per mini-batch, per micro-batch:
//     forward    hidden states of the rows; what the backward pass needs is kept
//     head       some rows after the others: log-probs l and entropies -> objective -> gradient of the head
//     objective  J and dJ/dl on the host, in double precision
//     backward   -dJ/dl through the layers, added to the gradients
//   per mini-batch: clipping and AdamW
//
// An objective with a statistic over the whole mini-batch gets all of its l first, from a pass of its own. Rows without a
// policy term are not computed unless the objective wants them; they stay in its totals. A mini-batch in which no row is
// computed still takes its optimizer step: the gradient is 0, the momentum goes on.
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using static TorchSharp.torch;

namespace Sapo.Learner;

/// <summary>Runs policy steps on a model it does not own.</summary>
internal sealed class PolicyStep(DecoderModel model, DecoderModel? reference, IObjective objective, ParameterUpdate update, LearnerOptions options, Device device)
{
    private readonly bool _silentToo = objective.Needs.HasFlag(ObjectiveNeeds.SilentRows);
    private readonly DistributionProbe? _distributions = objective.Distributions is { } request ? new DistributionProbe(request, model, update.Optimizer) : null;

    /// <summary>Learns from a batch.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="learningRate">Of all its optimizer steps.</param>
    /// <param name="version">What the weights will be afterwards.</param>
    public StepReport Run(TrainingBatch batch, double learningRate, PolicyVersion version)
    {
        try
        {
            return RunMiniBatches(batch, learningRate, version);
        }
        finally
        {
            _distributions?.Forget();
        }
    }

    private StepReport RunMiniBatches(TrainingBatch batch, double learningRate, PolicyVersion version)
    {
        var measured = new StepMeasurements(model);
        var (old, referenced) = AnchorPasses(batch, measured);
        foreach (var miniBatch in batch.MiniBatches)
        {
            var rows = miniBatch.Computed(_silentToo);
            var prepared = rows.Length == 0 ? null : objective.Prepare(ToObjectiveBatch(miniBatch, rows, old, referenced));
            var (whole, result) = prepared is null ? (null, null) : Accumulate(prepared, rows, learningRate, measured);
            var updated = measured.Time("optimizer", () => update.Apply(learningRate));
            if (result is not null && updated.SkippedFor is null) objective.Advance(result);
            measured.Add(miniBatch, whole, result, updated);
        }
        return measured.Report(batch, learningRate, version);
    }

    /// <summary>Adds the mini-batch's gradient and returns its batch, current log-probs filled in, and its result.</summary>
    private (ObjectiveBatch Whole, ObjectiveResult Result) Accumulate(ObjectiveBatch prepared, TrainingRow[] rows, double learningRate, StepMeasurements measured)
    {
        var parts = MicroBatchPlan.Split(rows, options.MaxTokensPerMicroBatch).ToArray();
        if (objective.Scope == ObjectiveScope.MiniBatch && parts.Length > 1) return AccumulateInTwoPasses(prepared, rows, parts, learningRate, measured);
        var (batches, results) = (new List<ObjectiveBatch>(), new List<ObjectiveResult>());
        foreach (var (first, count) in parts)
        {
            using var packed = MicroBatchPlan.Pack(rows[first..(first + count)], device);
            using var pass = measured.Time("forward", () => model.Forward(packed));
            var facts = measured.Time("head", () => _distributions?.Look(rows[first..(first + count)], packed, pass.HeadInput, learningRate));
            var part = prepared.Slice(first, count) with { Distributions = facts };
            using var headInput = measured.Time("head", () => model.TrainHead(pass, Evaluate, atOnce: objective.Scope == ObjectiveScope.MiniBatch));
            BackwardLayers(pass, headInput, prepared.TokenCount, measured);
            measured.Add(packed);

            HeadSlopes Evaluate(HeadSpan span)
            {
                var ofSpan = part.Slice(span.FirstRow, span.RowCount) with { LogProbs = span.Values.LogProbs, Entropies = span.Values.Entropies };
                var result = measured.Time("objective", () => objective.Evaluate(ofSpan));
                batches.Add(ofSpan);
                results.Add(result);
                return Descent(result.Gradient, result.EntropyGradient);
            }
        }
        return (prepared with { LogProbs = [.. batches.SelectMany(part => part.LogProbs)], Entropies = [.. batches.SelectMany(part => part.Entropies!)] }, ObjectiveResult.Sum(results));
    }

    private (ObjectiveBatch Whole, ObjectiveResult Result) AccumulateInTwoPasses(
        ObjectiveBatch prepared, TrainingRow[] rows, (int First, int Count)[] parts, double learningRate, StepMeasurements measured)
    {
        var facts = new List<TokenDistributions>();
        var values = measured.Time("forward", () => Evaluate(
            model, [rows], measured, _distributions is null ? null : (part, packed, headInput) => facts.Add(_distributions.Look(part, packed, headInput, learningRate))));
        var whole = prepared with
        {
            LogProbs = Flat(rows, values, value => value.LogProbs), Entropies = Flat(rows, values, value => value.Entropies),
            Distributions = facts.Count == 0 ? null : TokenDistributions.Join(facts),
        };
        var result = measured.Time("objective", () => objective.Evaluate(whole));
        foreach (var (first, count) in parts)
        {
            using var packed = MicroBatchPlan.Pack(rows[first..(first + count)], device);
            using var pass = measured.Time("forward", () => model.Forward(packed));
            var (start, end) = (whole.RowOffsets[first], whole.RowOffsets[first + count]);
            using var headInput = measured.Time("head", () => model.BackwardHead(pass, Descent(result.Gradient[start..end], result.EntropyGradient?[start..end])));
            BackwardLayers(pass, headInput, whole.TokenCount, measured);
            measured.Add(packed);
        }
        return (whole, result);
    }

    /// <summary>J is maximised, so the loss is -J.</summary>
    private static HeadSlopes Descent(double[] gradient, double[]? entropyGradient) =>
        new(Array.ConvertAll(gradient, slope => -slope), entropyGradient is null ? null : Array.ConvertAll(entropyGradient, slope => -slope));

    /// <summary>The layers' backward pass; the load-balance loss of a mixture's tokens is added, each micro-batch by its share of the targets.</summary>
    private void BackwardLayers(ForwardPass pass, Tensor headInput, int targetsOfMiniBatch, StepMeasurements measured)
    {
        var share = (double)pass.Batch.Targets.Length / targetsOfMiniBatch;
        var balance = measured.Time("backward", () => model.BackwardLayers(pass, headInput, options.RouterBalance * share));
        if (options.RouterBalance > 0) measured.AddRouterBalance(share * balance);
    }

    /// <summary>
    /// Rows are packed as each mini-batch will pack them: the same products then round in the same way, and the ratios of the
    /// first optimizer step are 1 to the last bit.
    /// </summary>
    private (Dictionary<TrainingRow, HeadResult>? Old, Dictionary<TrainingRow, HeadResult>? Reference) AnchorPasses(TrainingBatch batch, StepMeasurements measured)
    {
        TrainingRow[][] rows = [.. batch.MiniBatches.Select(miniBatch => miniBatch.Computed(_silentToo))];
        var needsOld = options.Anchor == LearnerOptions.RecomputedAnchor || objective.Needs.HasFlag(ObjectiveNeeds.OldPolicy);
        return (
            needsOld ? measured.Time("anchor", () => Evaluate(model, rows, measured, _distributions is { ComparesWithOldPolicy: true } ? _distributions.Remember : null)) : null,
            reference is null ? null : measured.Time("reference", () => Evaluate(reference, rows, measured)));
    }

    /// <summary>Log-probs and entropies of rows, each computed once; <paramref name="look"/> also sees each micro-batch's rows and its head input.</summary>
    private Dictionary<TrainingRow, HeadResult> Evaluate(DecoderModel policy, TrainingRow[][] miniBatches, StepMeasurements measured, Action<TrainingRow[], PackedTokens, Tensor>? look = null)
    {
        var values = new Dictionary<TrainingRow, HeadResult>(ReferenceEqualityComparer.Instance);
        foreach (var micro in miniBatches.SelectMany(rows => MicroBatches([.. rows.Where(row => !values.ContainsKey(row))])))
        {
            using var packed = MicroBatchPlan.Pack(micro, device);
            var part = policy.Evaluate(packed, look is null ? null : headInput => look(micro, packed, headInput));
            measured.AddForward(policy, packed);
            var start = 0;
            foreach (var row in micro)
            {
                values.Add(row, new HeadResult(part.LogProbs[start..(start + row.Length)], part.Entropies[start..(start + row.Length)]));
                start += row.Length;
            }
        }
        return values;
    }

    private IEnumerable<TrainingRow[]> MicroBatches(TrainingRow[] rows) =>
        MicroBatchPlan.Split(rows, options.MaxTokensPerMicroBatch).Select(part => rows[part.First..(part.First + part.Count)]);

    private ObjectiveBatch ToObjectiveBatch(MiniBatch miniBatch, TrainingRow[] rows, Dictionary<TrainingRow, HeadResult>? old, Dictionary<TrainingRow, HeadResult>? referenced)
    {
        double[] behaviour = [.. rows.SelectMany(row => row.BehaviourLogProbs.Select(logProb => (double)logProb))];
        var offsets = new int[rows.Length + 1];
        for (var row = 0; row < rows.Length; row++) offsets[row + 1] = offsets[row] + rows[row].Length;
        return new ObjectiveBatch
        {
            RowOffsets = offsets,
            LogProbs = new double[behaviour.Length],
            AnchorLogProbs = options.Anchor == LearnerOptions.RecomputedAnchor ? Flat(rows, old!, value => value.LogProbs) : behaviour,
            SamplerLogProbs = behaviour,
            Advantages = [.. rows.SelectMany(row => row.Advantages)],
            Totals = new BatchTotals(miniBatch.Rows.Count, miniBatch.Rows.Where(row => !row.Masked).Sum(row => (long)row.Length)),
            OldEntropies = old is null ? null : Flat(rows, old, value => value.Entropies),
            ReferenceLogProbs = referenced is null ? null : Flat(rows, referenced, value => value.LogProbs),
        };
    }

    private static double[] Flat(TrainingRow[] rows, Dictionary<TrainingRow, HeadResult> values, Func<HeadResult, double[]> select) =>
        [.. rows.SelectMany(row => select(values[row]))];
}
