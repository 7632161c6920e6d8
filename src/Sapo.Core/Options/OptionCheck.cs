namespace Sapo.Core.Options;

/// <summary>The two checks that options of a run file need, with their messages.</summary>
internal static class OptionCheck
{
    /// <summary>Refuses a value unless <paramref name="holds"/>.</summary>
    public static void Holds(bool holds, string name, object? value, string expected)
    {
        if (!holds) throw new UserErrorException($"{name} is {value ?? "null"}", expected, "Correct the run file");
    }

    /// <summary>Refuses a name that is not among the known ones, and says which it most likely stands for.</summary>
    public static void OneOf(string name, string value, params IReadOnlyList<string> known)
    {
        if (known.Contains(value, StringComparer.Ordinal)) return;
        throw new UserErrorException($"{name} is \"{value}\"", $"one of {string.Join(", ", known)}", $"Did you mean \"{NearestName.Of(value, known)}\"");
    }
}
