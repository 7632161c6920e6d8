namespace Sapo.Learner.Batches;

/// <summary>Groups that are laid out together in one rectangle.</summary>
/// <param name="Shares">Whether their prompts are computed once and shared.</param>
/// <param name="Groups">The groups.</param>
internal sealed record MergePlan(bool Shares, IReadOnlyList<TokenGroup> Groups)
{
    /// <summary>Below this many score elements per head a rectangle costs less than the calls it takes: pad rather than split.</summary>
    private const long SmallBlock = 1 << 17;

    /// <summary>Above <see cref="SmallBlock"/>, a rectangle may have this many times the score elements its groups need apart.</summary>
    private const double MaxPadding = 1.25;

    /// <summary>A rectangle of scores stays below this, so that memory does not grow with the number of groups (64 MB per head in Float32).</summary>
    private const long LargeBlock = 1 << 24;

    /// <summary>Splits groups into rectangles, those of like size together. The groups' order within a plan is by size.</summary>
    public static IEnumerable<MergePlan> For(IReadOnlyList<TokenGroup> groups, bool sharePrompts)
    {
        var used = groups.Where(group => RowsWithTokens(group).Any()).ToArray();
        foreach (var shares in new[] { true, false })
        {
            var open = new List<TokenGroup>();
            long apart = 0;
            foreach (var group in used.Where(group => (sharePrompts && RowsWithTokens(group).Count() > 1) == shares).OrderBy(group => Size([group], shares)))
            {
                var together = Size([.. open, group], shares);
                if (open.Count > 0 && (together > LargeBlock || (together > SmallBlock && together > MaxPadding * (apart + Size([group], shares)))))
                {
                    yield return new MergePlan(shares, open);
                    (open, apart) = ([], 0);
                }
                open.Add(group);
                apart += Size([group], shares);
            }
            if (open.Count > 0) yield return new MergePlan(shares, open);
        }
    }

    /// <summary>The completions of a group that have tokens.</summary>
    public static IEnumerable<TokenRow> RowsWithTokens(TokenGroup group) => group.Rows.Where(row => row.TokenIds.Length > 0);

    /// <summary>Score elements per head of a rectangle for these groups.</summary>
    private static long Size(IReadOnlyList<TokenGroup> groups, bool shares)
    {
        long prompt = groups.Max(group => group.Prompt.Length), width = groups.Max(group => RowsWithTokens(group).Max(row => row.TokenIds.Length)) - 1;
        if (!shares) return groups.Sum(group => RowsWithTokens(group).Count()) * (prompt + width) * (prompt + width);
        long rows = groups.Max(group => RowsWithTokens(group).Count());
        return groups.Count * (prompt * prompt + rows * width * (prompt + width));
    }
}
