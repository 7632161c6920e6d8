namespace Sapo.Core.Advantages;

/// <summary>Which groups are worth training on, and how overlong completions are punished; pure functions of rewards and lengths.</summary>
public static class GroupSelection
{
    /// <summary>
    /// DAPO's dynamic sampling (arXiv 2503.14476): a group is kept iff its scores are not all equal, or it has one completion.
    /// Compared as max != min, not as standard deviation above 0, which rounding can make positive.
    /// </summary>
    public static bool IsInformative(IReadOnlyList<double> scores) => scores.Count == 1 || scores.Count > 1 && !scores.Max().Equals(scores.Min());

    /// <summary>ACPO's gate (arXiv 2510.00690): a group is kept iff it has at least one and at most <paramref name="largestCount"/> solved completions.</summary>
    /// <param name="rewards">The group's rewards.</param>
    /// <param name="threshold">A completion counts as solved when its reward is above this.</param>
    /// <param name="largestCount">Most solved completions; more: too easy.</param>
    public static bool HasLearnableSolveCount(IReadOnlyList<double> rewards, double threshold, int largestCount)
    {
        int solved = rewards.Count(reward => reward > threshold);
        return solved > 0 && solved <= largestCount;
    }

    /// <summary>
    /// DAPO's soft overlong punishment, added to the reward: 0 up to maximumLength - cache tokens, then falling linearly to
    /// -penalty at maximumLength.
    /// </summary>
    /// <param name="length">Tokens of the completion.</param>
    /// <param name="maximumLength">Longest completion allowed.</param>
    /// <param name="cache">Over how many tokens the punishment grows.</param>
    /// <param name="penalty">Its size at the maximum length; 1 in the paper.</param>
    public static double OverlongPenalty(int length, int maximumLength, int cache, double penalty = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(cache);
        double excess = length - (maximumLength - cache);
        return excess <= 0 ? 0 : -excess / cache * penalty;
    }
}
