namespace Sapo.Core;

/// <summary>What a reward function said.</summary>
public enum RewardStatus
{
    /// <summary>A score: it is trained on.</summary>
    Score,

    /// <summary>The function has no opinion on this completion: it is left out of the group's baseline and not trained on.</summary>
    Abstention,

    /// <summary>The function failed; the reason is kept and counted, the completion is not trained on.</summary>
    Failure,
}

/// <summary>The outcome of one reward function on one completion.</summary>
public readonly record struct RewardOutcome
{
    private RewardOutcome(RewardStatus status, double value, string? reason) => (Status, Value, Reason) = (status, value, reason);

    /// <summary>Score, abstention or failure.</summary>
    public RewardStatus Status { get; }

    /// <summary>The score, finite; 0 unless <see cref="Status"/> is <see cref="RewardStatus.Score"/>.</summary>
    public double Value { get; }

    /// <summary>Why there is no score, null when there is one.</summary>
    public string? Reason { get; }

    /// <summary>A score.</summary>
    /// <exception cref="ArgumentException">The value is not finite.</exception>
    public static RewardOutcome Score(double value) => double.IsFinite(value)
        ? new(RewardStatus.Score, value, null)
        : throw new ArgumentException($"A score must be finite, found {value}.", nameof(value));

    /// <summary>No opinion.</summary>
    public static RewardOutcome Abstain(string reason) => new(RewardStatus.Abstention, 0, reason);

    /// <summary>A failure with its reason.</summary>
    public static RewardOutcome Fail(string reason) => new(RewardStatus.Failure, 0, reason);
}

/// <summary>One completion with what a reward function may look at.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="Completion">The completion.</param>
/// <param name="Text">The completion as text, special tokens left out.</param>
public sealed record RewardInput(Prompt Prompt, Completion Completion, string Text);

/// <summary>Judges completions. Implementations are thread-safe; a thrown exception counts as a failure with its message as the reason.</summary>
public interface IReward
{
    /// <summary>The name under which its scores are logged.</summary>
    string Name { get; }

    /// <summary>Judges one completion.</summary>
    ValueTask<RewardOutcome> JudgeAsync(RewardInput input, CancellationToken cancel);
}

/// <summary>A group with what every reward function said and the reward that is trained on.</summary>
/// <param name="Group">The completions.</param>
/// <param name="Outcomes">Per completion, per reward function in the run's order.</param>
/// <param name="Rewards">Per completion the weighted sum of the scores; null where a function failed or all abstained.</param>
public sealed record ScoredGroup(RolloutGroup Group, IReadOnlyList<IReadOnlyList<RewardOutcome>> Outcomes, IReadOnlyList<double?> Rewards);
