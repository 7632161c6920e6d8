namespace Sapo.Hybrid.Tasks;

/// <summary>
/// The sequences by which an engine shows that it runs a version rightly: fixed for a run, so that versions can be
/// compared.
/// </summary>
internal static class ProbeSequences
{
    private const int Count = 2, LongestSequence = 16; // every matrix is in every log-prob; a swap waits for them, about three decode steps

    /// <summary>The first training prompts, each with a worked example's answer where the task has them.</summary>
    /// <param name="task">The task.</param>
    /// <param name="longest">Tokens that the engine has room for.</param>
    public static IReadOnlyList<int[]> Of(ITrainingTask task, int longest)
    {
        longest = Math.Min(longest, LongestSequence);
        var sequences = new List<int[]>();
        for (var n = 0; n < Count; n++)
        {
            int[] ids = task.Example(n) is { } example
                ? [.. example.PromptTokenIds, .. example.CompletionTokenIds]
                : task.TrainingPrompt(n).TokenIds;
            if (ids.Length > longest) ids = ids[..longest];
            if (ids.Length > 1) sequences.Add(ids);
        }
        return sequences;
    }
}
