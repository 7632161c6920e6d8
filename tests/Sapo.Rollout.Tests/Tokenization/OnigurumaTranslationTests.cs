using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout.Tests.Tokenization;

public sealed class OnigurumaTranslationTests
{
    private const string Gpt4o = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    [Theory]
    [InlineData(@"(?i:'s)", "it'S", "'S")]
    [InlineData(@"(?i:'s)", "it'\u017F", "'\u017F")]
    [InlineData(@"(?i:k)", "\u212A", "\u212A")]
    [InlineData(@"(?i:[sdmt])", "D", "D")]
    [InlineData(@"a?+b", "aab", "ab")]
    [InlineData(@"a++.", "aab", "aab")]
    [InlineData(@"[^\s\p{L}]+", "ab\u0085!?", "!?")]
    [InlineData(@"\p{N}{1,3}", "x12345", "123")]
    [InlineData(@"[a\-c]+", "b-ca", "-ca")]
    [InlineData(@"[]a]", "b]", null)]
    [InlineData(@"#\ ", "# ", "# ")]
    [InlineData(@"(?<=a)b", "bab", "b")]
    public void Translate_SupportedPattern_MatchesAsOnigurumaDoes(string pattern, string text, string? expected)
    {
        if (expected is null)
        {
            Assert.Throws<UserErrorException>(() => Translate(pattern));
            return;
        }
        Assert.Equal(expected, Regex.Match(text, Translate(pattern), RegexOptions.CultureInvariant, TimeSpan.FromMinutes(1)).Value);
    }

    [Theory]
    [InlineData(@"\w+", "\\w")]
    [InlineData(@"a\b", "\\b")]
    [InlineData(@"^a", "anchor")]
    [InlineData(@"a$", "anchor")]
    [InlineData(@"\p{Han}", "\\p{Han}")]
    [InlineData(@"[[:alpha:]]", "inside a set")]
    [InlineData(@"[a&&b]", "intersection")]
    [InlineData(@"[\S]x\h", "\\h")]
    [InlineData(@"(?<name>a)", "kind of group")]
    [InlineData(@"(a", "never closed")]
    [InlineData(@"a)", "unmatched")]
    [InlineData(@"[a", "never closed")]
    [InlineData(@"a{1,3}+", "{1,3}+")]
    [InlineData(@"a{2}?", "{2}?")]
    [InlineData(@"a{,3}", "no count")]
    [InlineData(@"a**", "quantifier")]
    [InlineData(@"*a", "nothing before")]
    [InlineData(@"\", "backslash")]
    [InlineData(@"(?i:ss)", "fold")]
    [InlineData(@"(?i:é)", "ASCII")]
    [InlineData(@"[z-a]", "range")]
    [InlineData("\U0001F600", "U+FFFF")]
    public void Translate_PatternThatCouldMeanSomethingElse_IsRefusedByName(string pattern, string named) =>
        Assert.Contains(named, Assert.Throws<UserErrorException>(() => Translate(pattern)).Message, StringComparison.Ordinal);

    [Fact]
    public void Translate_DeepGroups_IsRefused() => Assert.Throws<UserErrorException>(() => Translate(new string('(', 100_000)));

    [Fact]
    public void Matches_Gpt4oPattern_CutsLettersOutsideTheBasicPlane()
    {
        // U+20BB7 is a letter, U+1F600 a symbol, U+1D7D8 a digit, U+1D400 an upper-case letter.
        var pattern = new RegexPattern(Translate(Gpt4o), "here");
        const string text = "\U00020BB7野家 \U0001F600\U0001F600b\U0001D7D8\U0001D7D9\U0001D7DA\U0001D7DB \U0001D400b it's";
        var words = pattern.Matches(text).Select(match => text[match.Start..match.End]);
        Assert.Equal(["\U00020BB7野家", " \U0001F600\U0001F600", "b", "\U0001D7D8\U0001D7D9\U0001D7DA", "\U0001D7DB", " \U0001D400b", " it's"], words, StringComparer.Ordinal);
    }

    [Fact]
    public void Representative_EveryCategory_HasThatCategory()
    {
        foreach (var category in Enum.GetValues<UnicodeCategory>())
        {
            // These four have no character above U+FFFF.
            if (category is UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Control or UnicodeCategory.Surrogate) continue;
            Assert.Equal(category, CharUnicodeInfo.GetUnicodeCategory(RegexPattern.Representative(category)));
        }
    }

    private static string Translate(string pattern)
    {
        using var document = JsonDocument.Parse(JsonSerializer.Serialize(pattern));
        return OnigurumaTranslation.Translate(new JsonValue(document.RootElement, "tokenizer.json", "pattern"));
    }
}
