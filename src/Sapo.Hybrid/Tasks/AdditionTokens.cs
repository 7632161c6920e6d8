using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tasks;

/// <summary>The addition task's tokens: one per character, as <see cref="CharacterTokenizerFile"/> numbers them.</summary>
internal static class AdditionTokens
{
    /// <summary>Fills padded positions.</summary>
    public const int Pad = CharacterTokenizerFile.PadId;

    /// <summary>Begins a sequence.</summary>
    public const int Begin = CharacterTokenizerFile.BeginId;

    /// <summary>Ends a sequence.</summary>
    public const int End = CharacterTokenizerFile.EndId;

    /// <summary>The characters; the first has id <see cref="FirstCharacter"/>.</summary>
    public const string Characters = "0123456789+=,>";

    /// <summary>Id of the first character.</summary>
    public const int FirstCharacter = CharacterTokenizerFile.FirstCharacterId;

    /// <summary>Number of ids in use.</summary>
    public static int Count => FirstCharacter + Characters.Length;

    /// <summary>The ids of a text that holds only <see cref="Characters"/>.</summary>
    public static int[] Encode(string text) =>
        [.. text.Select(character => FirstCharacter + Characters.IndexOf(character, StringComparison.Ordinal))];
}
