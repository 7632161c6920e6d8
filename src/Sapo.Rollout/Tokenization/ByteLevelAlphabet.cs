using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>
/// The 256 printable characters by which byte-level BPE files spell bytes: printable Latin-1 characters stand for
/// themselves, the other bytes for U+0100, U+0101 and so on, in byte order (GPT-2's <c>bytes_to_unicode</c>).
/// </summary>
internal static class ByteLevelAlphabet
{
    private static readonly char[] CharacterOfByte = BuildCharacters();
    private static readonly short[] ByteOfCharacter = BuildBytes();

    /// <summary>The spelling of a text's UTF-8 bytes. A lone surrogate counts as U+FFFD.</summary>
    public static string Spell(string text)
    {
        var count = Encoding.UTF8.GetByteCount(text);
        return string.Create(count, text, static (spelling, source) =>
        {
            Span<byte> bytes = spelling.Length <= 256 ? stackalloc byte[spelling.Length] : new byte[spelling.Length];
            Encoding.UTF8.GetBytes(source, bytes);
            for (var i = 0; i < bytes.Length; i++) spelling[i] = CharacterOfByte[bytes[i]];
        });
    }

    /// <summary>The character that stands for a byte.</summary>
    public static char Character(byte value) => CharacterOfByte[value];

    /// <summary>The byte for which a character stands, or null when it is none of the 256.</summary>
    public static byte? Byte(char character) => character < ByteOfCharacter.Length && ByteOfCharacter[character] >= 0 ? (byte)ByteOfCharacter[character] : null;

    /// <summary>The bytes that a token spells. A token with a character outside the alphabet (an added token with a space, say) stands for its own text.</summary>
    public static byte[] Bytes(string token)
    {
        var bytes = new byte[token.Length];
        for (var i = 0; i < token.Length; i++)
        {
            if (Byte(token[i]) is not { } value) return Encoding.UTF8.GetBytes(token);
            bytes[i] = value;
        }
        return bytes;
    }

    private static char[] BuildCharacters()
    {
        var characters = new char[256];
        var next = 256;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            characters[value] = printable ? (char)value : (char)next++;
        }
        return characters;
    }

    private static short[] BuildBytes()
    {
        var bytes = new short[CharacterOfByte.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (var value = 0; value < 256; value++) bytes[CharacterOfByte[value]] = (short)value;
        return bytes;
    }
}
