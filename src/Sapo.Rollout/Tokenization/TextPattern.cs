// What a pre-tokenizer looks for: a regular expression, a fixed string or a class of characters.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Sapo.Core;

namespace Sapo.Rollout.Tokenization;

/// <summary>A stretch of a text: UTF-16 indices [Start, End).</summary>
internal readonly record struct TextSpan(int Start, int End);

/// <summary>Finds the matches of one pattern in a text, from left to right, without overlaps. Safe for use by many threads.</summary>
internal abstract class TextPattern
{
    /// <summary>Reads <c>{"String": ...}</c> or <c>{"Regex": ...}</c>.</summary>
    public static TextPattern Read(JsonValue pattern)
    {
        if (pattern.String("String") is { } literal)
            return literal.Length > 0 ? new LiteralPattern(literal) : throw pattern.Error("String is empty", "the text to look for");
        return new RegexPattern(OnigurumaTranslation.Translate(pattern.Member("Regex")), pattern.File);
    }

    /// <summary>The matches, none of them empty.</summary>
    public abstract IEnumerable<TextSpan> Matches(string text);
}

/// <summary>A fixed string, compared ordinally.</summary>
internal sealed class LiteralPattern(string literal) : TextPattern
{
    /// <inheritdoc/>
    public override IEnumerable<TextSpan> Matches(string text)
    {
        for (var at = text.IndexOf(literal, StringComparison.Ordinal); at >= 0; at = text.IndexOf(literal, at + literal.Length, StringComparison.Ordinal))
            yield return new TextSpan(at, at + literal.Length);
    }
}

/// <summary>Every single numeric character (Unicode Nd, Nl, No).</summary>
internal sealed class NumericPattern : TextPattern
{
    /// <inheritdoc/>
    public override IEnumerable<TextSpan> Matches(string text)
    {
        for (var at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out var rune, out var length);
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber)
                yield return new TextSpan(at, at + length);
            at += length;
        }
    }
}

/// <summary>
/// A regular expression over code points. .NET matches UTF-16 code units and knows no category of a character above
/// U+FFFF, so every such character is first replaced by one of the same category below it; the patterns that are let
/// in (<see cref="OnigurumaTranslation"/>) see nothing else of such a character.
/// </summary>
internal sealed class RegexPattern(string netPattern, string file) : TextPattern
{
    // A pattern that needs this long for one match is broken or hostile.
    private static readonly TimeSpan LongestMatch = TimeSpan.FromSeconds(30);

    private readonly Regex _regex = Build(netPattern, file);

    /// <inheritdoc/>
    public override IEnumerable<TextSpan> Matches(string text)
    {
        var (codePoints, starts) = OneUnitPerCodePoint(text);
        var matches = new List<TextSpan>();
        try
        {
            foreach (var match in _regex.EnumerateMatches(codePoints))
                if (match.Length > 0) matches.Add(new TextSpan(match.Index, match.Index + match.Length));
        }
        catch (RegexMatchTimeoutException slow)
        {
            throw new UserErrorException($"{file}: the pre-tokenizer's pattern took longer than {LongestMatch.TotalSeconds} s for one match", null, "Use the tokenizer.json that was saved with the model", slow);
        }
        return starts is null ? matches : matches.Select(match => new TextSpan(starts[match.Start], starts[match.End]));
    }

    /// <summary>A character below U+FFFF with the given general category, from scripts that no known pattern names.</summary>
    internal static char Representative(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter => '\uA640',
        UnicodeCategory.LowercaseLetter => '\uA641',
        UnicodeCategory.TitlecaseLetter => '\u1F88',
        UnicodeCategory.ModifierLetter => '\uA788',
        UnicodeCategory.OtherLetter => '\uA500',
        UnicodeCategory.NonSpacingMark => '\uA6F0',
        UnicodeCategory.SpacingCombiningMark => '\uA823',
        UnicodeCategory.EnclosingMark => '\uA670',
        UnicodeCategory.DecimalDigitNumber => '\uA620',
        UnicodeCategory.LetterNumber => '\uA6E6',
        UnicodeCategory.OtherNumber => '\uA830',
        UnicodeCategory.ConnectorPunctuation => '\uFE33',
        UnicodeCategory.DashPunctuation => '\u2E17',
        UnicodeCategory.OpenPunctuation => '\u2E28',
        UnicodeCategory.ClosePunctuation => '\u2E29',
        UnicodeCategory.InitialQuotePunctuation => '\u2E02',
        UnicodeCategory.FinalQuotePunctuation => '\u2E03',
        UnicodeCategory.OtherPunctuation => '\uA60D',
        UnicodeCategory.MathSymbol => '\u2A00',
        UnicodeCategory.CurrencySymbol => '\uA838',
        UnicodeCategory.ModifierSymbol => '\uA700',
        UnicodeCategory.OtherSymbol => '\uA828',
        UnicodeCategory.Format => '\u206A',
        UnicodeCategory.PrivateUse => '\uE000',
        _ => '\uFDD0',
    };

    private static Regex Build(string netPattern, string file)
    {
        try
        {
            return new Regex(netPattern, RegexOptions.CultureInvariant, LongestMatch);
        }
        catch (ArgumentException broken)
        {
            throw new UserErrorException($"{file}: the pre-tokenizer's pattern is broken: {broken.Message}", null, "Use the tokenizer.json that was saved with the model", broken);
        }
    }

    /// <summary>The text with one unit per code point, and for each unit (and the end) its index in the text; null when that is the same.</summary>
    private static (string CodePoints, int[]? Starts) OneUnitPerCodePoint(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) return (text, null);
        var codePoints = new StringBuilder(text.Length);
        var starts = new List<int>(text.Length + 1);
        for (var at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out var rune, out var length);
            codePoints.Append(rune.IsBmp ? (char)rune.Value : Representative(Rune.GetUnicodeCategory(rune)));
            starts.Add(at);
            at += length;
        }
        starts.Add(text.Length);
        return (codePoints.ToString(), [.. starts]);
    }
}
