namespace Sapo.Core.Options;

/// <summary>Finds the name that a mistyped one most likely stands for.</summary>
public static class NearestName
{
    /// <summary>The known name with the fewest inserted, removed or replaced letters, the first of equals; null where nothing is known.</summary>
    public static string? Of(string mistyped, IEnumerable<string> known) =>
        known.MinBy(name => Distance(mistyped.ToLowerInvariant(), name.ToLowerInvariant()));

    /// <summary>Levenshtein distance by two rows of the table.</summary>
    private static int Distance(string left, string right)
    {
        int[] previous = [.. Enumerable.Range(0, right.Length + 1)];
        for (int i = 1; i <= left.Length; i++)
        {
            var current = new int[right.Length + 1];
            current[0] = i;
            for (int j = 1; j <= right.Length; j++)
                current[j] = Math.Min(Math.Min(current[j - 1], previous[j]) + 1, previous[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1));
            previous = current;
        }
        return previous[^1];
    }
}
