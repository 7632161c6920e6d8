// Added tokens are found in the text before anything else happens to it: those with normalized=false in the raw text,
// the others in the normalised text between them. The leftmost match wins, and the longest of those that begin there.
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>A token that is matched as a whole, outside the model.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="Special">Whether skip-special decoding leaves it out.</param>
/// <param name="SingleWord">Matches only between characters that are no word characters.</param>
/// <param name="TrimLeft">Swallows the white space before it (lstrip).</param>
/// <param name="TrimRight">Swallows the white space behind it (rstrip).</param>
/// <param name="Normalized">Looked for in the normalised text instead of the raw text.</param>
internal sealed record AddedToken(int Id, string Content, bool Special, bool SingleWord, bool TrimLeft, bool TrimRight, bool Normalized)
{
    /// <summary>Reads one entry of <c>added_tokens</c>.</summary>
    public static AddedToken Read(JsonValue value)
    {
        var special = value.Bool("special");
        var content = value.Member("content").AsString();
        if (content.Length == 0) throw value.Error("content is empty", "the token's text");
        return new AddedToken(
            value.Member("id").AsCount(), content, special, value.Bool("single_word"), value.Bool("lstrip"), value.Bool("rstrip"), value.Bool("normalized", absent: !special));
    }
}

/// <summary>A stretch of text, or an added token that was found in it.</summary>
/// <param name="Text">The stretch; empty for a token.</param>
/// <param name="TokenId">The token's id, or null for text.</param>
/// <param name="StartsInput">Whether it begins where the whole input begins.</param>
internal readonly record struct TextOrToken(string Text, int? TokenId, bool StartsInput);

/// <summary>Finds added tokens in text. Safe for use by many threads.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Node _root = new();
    private readonly bool _any;

    /// <param name="tokens">The tokens to find and the text under which each is looked for.</param>
    public AddedTokenMatcher(IEnumerable<(AddedToken Token, string Text)> tokens)
    {
        foreach (var (token, text) in tokens)
        {
            var node = _root;
            foreach (var character in text)
            {
                if (!node.Next.TryGetValue(character, out var next)) node.Next[character] = next = new Node();
                node = next;
            }
            node.Token = token;
            _any = true;
        }
    }

    /// <summary>Cuts a stretch at the tokens in it.</summary>
    /// <param name="piece">The stretch.</param>
    /// <param name="parseSpecial">Whether special tokens count; if not, their text stays text.</param>
    /// <param name="parts">Receives the parts in order; empty stretches are left out.</param>
    public void Split(TextOrToken piece, bool parseSpecial, List<TextOrToken> parts)
    {
        var text = piece.Text;
        var start = 0;
        for (var at = 0; _any && at < text.Length;)
        {
            var (token, end) = LongestAt(text, at);
            if (token is null)
            {
                at++;
                continue;
            }
            var matched = at;
            at = end;
            if ((token.Special && !parseSpecial) || (token.SingleWord && !StandsAlone(text, matched, end))) continue;
            while (token.TrimLeft && matched > start && char.IsWhiteSpace(text[matched - 1])) matched--;
            while (token.TrimRight && end < text.Length && char.IsWhiteSpace(text[end])) end++;
            if (matched > start) parts.Add(new TextOrToken(text[start..matched], null, piece.StartsInput && start == 0));
            parts.Add(new TextOrToken("", token.Id, piece.StartsInput && matched == 0));
            start = end;
            at = Math.Max(at, end);
        }
        if (start < text.Length) parts.Add(start == 0 ? piece : new TextOrToken(text[start..], null, StartsInput: false));
    }

    private (AddedToken? Token, int End) LongestAt(string text, int start)
    {
        var node = _root;
        (AddedToken? Token, int End) longest = default;
        for (var at = start; at < text.Length && node.Next.TryGetValue(text[at], out var next); at++)
        {
            node = next;
            if (node.Token is { } token) longest = (token, at + 1);
        }
        return longest;
    }

    private static bool StandsAlone(string text, int start, int end) =>
        (Rune.DecodeLastFromUtf16(text.AsSpan(0, start), out var before, out _) != System.Buffers.OperationStatus.Done || !IsWordCharacter(before))
        && (Rune.DecodeFromUtf16(text.AsSpan(end), out var after, out _) != System.Buffers.OperationStatus.Done || !IsWordCharacter(after));

    private static bool IsWordCharacter(Rune rune) => Rune.GetUnicodeCategory(rune) is
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter
        or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
        or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation || rune.Value is 0x200C or 0x200D;

    private sealed class Node
    {
        public Dictionary<char, Node> Next { get; } = [];

        public AddedToken? Token { get; set; }
    }
}
