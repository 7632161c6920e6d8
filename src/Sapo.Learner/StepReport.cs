using Sapo.Core;
using Sapo.Learner.Objectives;

namespace Sapo.Learner;

/// <summary>What one policy step did, over all its mini-batches where nothing else is said.</summary>
public sealed record StepReport
{
    /// <summary>The version these weights are now.</summary>
    public required PolicyVersion Version { get; init; }

    /// <summary>Mean over the mini-batches of the objective J that is maximised.</summary>
    public required double Objective { get; init; }

    /// <summary>Token mean of the entropy of the next-token distribution, in nats, at the weights each mini-batch began with.</summary>
    public required double Entropy { get; init; }

    /// <summary>Learning rate of its optimizer steps.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Learner against sampler on the first mini-batch, before any update; without tokens if nothing of it was computed.</summary>
    public required MismatchDiagnostics Mismatch { get; init; }

    /// <summary>Share of computed tokens whose gradient the objective cut off.</summary>
    public required double ClippedShare { get; init; }

    /// <summary>The objective's weights W of tokens with a positive advantage; null if there are none.</summary>
    public required Distribution? GatePositive { get; init; }

    /// <summary>The same where the advantage is negative.</summary>
    public required Distribution? GateNegative { get; init; }

    /// <summary>The optimizer steps, in order.</summary>
    public required IReadOnlyList<MiniBatchReport> MiniBatches { get; init; }

    /// <summary>What the objective itself has to say, averaged over the mini-batches.</summary>
    public required IReadOnlyDictionary<string, double> ObjectiveMetrics { get; init; }

    /// <summary>Share of groups whose rewards are all equal.</summary>
    public required double GroupsWithoutSignal { get; init; }

    /// <summary>Completion tokens in the batch, counted at every use of it.</summary>
    public required long Tokens { get; init; }

    /// <summary>Completion tokens that went forward and backward.</summary>
    public required long TrainedTokens { get; init; }

    /// <summary>Completion tokens left out because their advantage is 0 or their completion is masked; they stay in the denominators.</summary>
    public required long SkippedTokens { get; init; }

    /// <summary>Tokens computed with gradient, each group's prompt once per micro-batch.</summary>
    public required long ComputedTokens { get; init; }

    /// <summary>Floating-point operations of forward and backward passes, those of anchor and reference policy included.</summary>
    public required double Flops { get; init; }

    /// <summary>Further operations that repeating the prompt for every completion would have cost.</summary>
    public required double FlopsSavedBySharing { get; init; }

    /// <summary>
    /// Seconds in <c>anchor</c> (old log-probs), <c>reference</c> (those of a reference policy), <c>forward</c> (layers; where the objective needs a pass over the whole mini-batch first, that pass with its head), <c>head</c> (both
    /// directions), <c>objective</c>, <c>backward</c> (layers) and <c>optimizer</c>; a phase that did not occur is absent.
    /// </summary>
    public required IReadOnlyDictionary<string, double> Seconds { get; init; }
}

/// <summary>One optimizer step.</summary>
public sealed record MiniBatchReport
{
    /// <summary>The objective J before the update.</summary>
    public required double Objective { get; init; }

    /// <summary>2-norm of all gradients before clipping; 0 without a signal.</summary>
    public required double GradientNorm { get; init; }

    /// <summary>Null, or the tensor whose gradient was not finite: nothing was updated.</summary>
    public required string? SkippedFor { get; init; }

    /// <summary>Ratios against the anchor before any clipping, and the objective's weights; null without computed tokens.</summary>
    public required RatioDiagnostics? Diagnostics { get; init; }

    /// <summary>What the objective itself has to say, such as clip fractions and the KL estimate; empty without computed tokens.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }
}
