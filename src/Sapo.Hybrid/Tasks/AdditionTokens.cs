namespace Sapo.Hybrid.Tasks;

/// <summary>The addition task's tokens: one per character.</summary>
internal static class AdditionTokens
{
    /// <summary>Fills padded positions.</summary>
    public const int Pad = 0;

    /// <summary>Begins a sequence.</summary>
    public const int Begin = 1;

    /// <summary>Ends a sequence.</summary>
    public const int End = 2;

    /// <summary>The characters; the first has id <see cref="FirstCharacter"/>.</summary>
    public const string Characters = "0123456789+=,>";

    /// <summary>Id of the first character.</summary>
    public const int FirstCharacter = 3;

    /// <summary>Number of ids in use.</summary>
    public static int Count => FirstCharacter + Characters.Length;

    /// <summary>The ids of a text that holds only <see cref="Characters"/>.</summary>
    public static int[] Encode(string text) => [.. text.Select(character => FirstCharacter + Characters.IndexOf(character, StringComparison.Ordinal))];
}
