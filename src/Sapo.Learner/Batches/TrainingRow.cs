namespace Sapo.Learner.Batches;

/// <summary>One completion of a training batch.</summary>
/// <param name="Prompt">The prompt's ids; completions of one prompt share the array.</param>
/// <param name="Tokens">The completion.</param>
/// <param name="Temperature">It was sampled at.</param>
/// <param name="BehaviourLogProbs">Per token, of the distribution it was drawn from.</param>
/// <param name="Advantages">Per token.</param>
/// <param name="Masked">True for a completion that is not to be trained on (it hit the limit, or lacks its kept ids): it counts as a sequence, its tokens do not count.</param>
internal sealed record TrainingRow(int[] Prompt, TokenRow Tokens, double Temperature, float[] BehaviourLogProbs, double[] Advantages, bool Masked)
{
    /// <summary>Number of tokens.</summary>
    public int Length => Tokens.TokenIds.Length;

    /// <summary>True when the policy term of every token is 0.</summary>
    public bool IsSilent => Advantages.All(advantage => advantage == 0);
}

/// <summary>The completions of one optimizer step, in order.</summary>
/// <param name="Rows">All of them, trained on or not.</param>
internal sealed record MiniBatch(IReadOnlyList<TrainingRow> Rows)
{
    /// <summary>The rows whose log-probs are computed.</summary>
    /// <param name="silentToo">Whether rows without a policy term are needed.</param>
    public TrainingRow[] Computed(bool silentToo) => [.. Rows.Where(row => row is { Length: > 0, Masked: false } && (silentToo || !row.IsSilent))];
}
