using Sapo.Core;

namespace Sapo.Learner.Objectives;

/// <summary>What part of an optimizer mini-batch an objective must see at once.</summary>
public enum ObjectiveScope
{
    /// <summary>Completions are independent of each other: any split into micro-batches gives the same sum.</summary>
    Sequence,

    /// <summary>A statistic of the current policy over the whole mini-batch enters the gradient: it may not be split.</summary>
    MiniBatch,
}

/// <summary>Which log-probs the ratio r is taken against.</summary>
public enum AnchorPolicy
{
    /// <summary>o: the old policy, recomputed by the learner before the first mini-batch.</summary>
    Old,

    /// <summary>m: the behaviour policy, as the sampler reported it.</summary>
    Sampler,
}

/// <summary>What an objective needs beside the current policy's log-probs and entropies, the anchor's log-probs and the advantages.</summary>
[Flags]
public enum ObjectiveNeeds
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Log-probs and entropies of the old policy, computed by the learner before the first mini-batch.</summary>
    OldPolicy = 1,

    /// <summary>Log-probs of a reference policy.</summary>
    ReferencePolicy = 2,

    /// <summary>Completions whose advantages are all 0: they have a gradient, or enter a statistic. Without this flag they may be left out of a batch, though not out of its totals.</summary>
    SilentRows = 4,
}

/// <summary>
/// A policy objective J, to be maximised, as a pure function on host arrays in double precision, with its closed-form
/// gradient. The learner computes log-probs on its device, calls <see cref="Evaluate"/>, and sends the returned
/// dJ/dlogp back through the model, so that the objective does not depend on padding, packing or the tensor library.
/// <code>
/// ObjectiveBatch miniBatch = objective.Prepare(batch);               // weights and masks that do not depend on l
/// foreach micro-batch:  result = objective.Evaluate(miniBatch.Slice(first, rows) with { LogProbs = l });
///                       model.Backward(-result.Gradient)
/// objective.Advance(ObjectiveResult.Sum(results));                   // after the optimizer step
/// </code>
/// </summary>
public interface IObjective
{
    /// <summary>The name used in run files.</summary>
    string Name { get; }

    /// <summary>Whether a mini-batch may be evaluated in parts.</summary>
    ObjectiveScope Scope { get; }

    /// <summary>Which log-probs <see cref="ObjectiveBatch.AnchorLogProbs"/> must be; null: either will do.</summary>
    AnchorPolicy? RequiredAnchor { get; }

    /// <summary>What the batches must hold.</summary>
    ObjectiveNeeds Needs { get; }

    /// <summary>What <see cref="ObjectiveBatch.Distributions"/> must hold; null: nothing.</summary>
    DistributionRequest? Distributions { get; }

    /// <summary>
    /// Fills in what depends on the whole mini-batch but not on the current policy: mismatch weights and the
    /// top-entropy mask. Returns <paramref name="miniBatch"/> itself where there is nothing to fill in.
    /// </summary>
    ObjectiveBatch Prepare(ObjectiveBatch miniBatch);

    /// <summary>This batch's share of J and of its gradient. Changes no state.</summary>
    /// <exception cref="UserErrorException">A counted number is not finite; the message names row and position.</exception>
    /// <exception cref="InvalidDataException">Array lengths do not fit, or an array that this objective needs is missing.</exception>
    ObjectiveResult Evaluate(ObjectiveBatch batch);

    /// <summary>Moves the state (dual variable, adaptive coefficient) after an optimizer step on the whole mini-batch.</summary>
    /// <param name="miniBatch">The sum of the results of all its micro-batches.</param>
    void Advance(ObjectiveResult miniBatch);

    /// <summary>What a checkpoint must hold; empty for objectives without state.</summary>
    IReadOnlyDictionary<string, double> State { get; }

    /// <summary>Takes back what <see cref="State"/> gave.</summary>
    /// <exception cref="UserErrorException">A value is missing or unknown.</exception>
    void Restore(IReadOnlyDictionary<string, double> state);
}
