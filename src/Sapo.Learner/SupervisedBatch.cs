namespace Sapo.Learner;

/// <summary>One worked example.</summary>
/// <param name="PromptTokenIds">At least one id; not trained on.</param>
/// <param name="CompletionTokenIds">The ids to learn, end token included.</param>
public sealed record SupervisedExample(int[] PromptTokenIds, int[] CompletionTokenIds);

/// <summary>The examples of one optimizer step. The loss is the mean cross-entropy over all their completion tokens.</summary>
/// <param name="Examples">At least one with completion tokens.</param>
public sealed record SupervisedBatch(IReadOnlyList<SupervisedExample> Examples);

/// <summary>What one supervised step did.</summary>
public sealed record SupervisedReport
{
    /// <summary>Mean cross-entropy per completion token before the update, in nats.</summary>
    public required double Loss { get; init; }

    /// <summary>Mean entropy of the next-token distribution, in nats.</summary>
    public required double Entropy { get; init; }

    /// <summary>2-norm of all gradients before clipping.</summary>
    public required double GradientNorm { get; init; }

    /// <summary>True when the gradient was not finite and nothing was updated.</summary>
    public required bool Skipped { get; init; }

    /// <summary>Completion tokens: what the loss averages over.</summary>
    public required int TrainedTokens { get; init; }

    /// <summary>Tokens computed, prompts included.</summary>
    public required int ComputedTokens { get; init; }
}
