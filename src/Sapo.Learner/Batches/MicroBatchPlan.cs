using static TorchSharp.torch;

namespace Sapo.Learner.Batches;

/// <summary>Cuts rows, in order, into micro-batches of a bounded number of tokens, a prompt counted once where its completions stay together.</summary>
internal static class MicroBatchPlan
{
    /// <summary>First row and number of rows of each micro-batch. A single row that exceeds the bound is a micro-batch of its own.</summary>
    public static IEnumerable<(int First, int Count)> Split(IReadOnlyList<TrainingRow> rows, int maxTokens)
    {
        int first = 0, tokens = 0;
        for (var index = 0; index < rows.Count; index++)
        {
            var alone = rows[index].Prompt.Length + rows[index].Length - 1;
            var added = index > first && ReferenceEquals(rows[index].Prompt, rows[index - 1].Prompt) ? rows[index].Length - 1 : alone;
            if (index > first && tokens + added > maxTokens)
            {
                yield return (first, index - first);
                (first, tokens, added) = (index, 0, alone);
            }
            tokens += added;
        }
        if (rows.Count > first) yield return (first, rows.Count - first);
    }

    /// <summary>Packs rows, neighbours with the same prompt as a group.</summary>
    public static PackedTokens Pack(IEnumerable<TrainingRow> rows, Device device)
    {
        var groups = new List<TokenGroup>();
        var members = new List<TokenRow>();
        foreach (var row in rows)
        {
            if (groups.Count == 0 || !ReferenceEquals(groups[^1].Prompt, row.Prompt) || groups[^1].Temperature != row.Temperature)
                groups.Add(new TokenGroup(row.Prompt, members = [], row.Temperature));
            members.Add(row.Tokens);
        }
        return new PackedTokens(groups, device);
    }
}
