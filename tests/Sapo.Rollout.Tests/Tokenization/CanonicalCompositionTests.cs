using System.Text;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Normalization form C, by the examples of UAX #15 and by its properties.</summary>
public sealed class CanonicalCompositionTests
{
    [Theory]
    [InlineData("e\u0301", "\u00E9")]
    [InlineData("\u00E9", "\u00E9")]
    [InlineData("\u212B", "\u00C5")]
    [InlineData("\u2126", "\u03A9")]
    [InlineData("\u1E0B\u0323", "\u1E0D\u0307")]
    [InlineData("q\u0307\u0323", "q\u0323\u0307")]
    [InlineData("\u0344", "\u0308\u0301")]
    [InlineData("\u0958", "\u0915\u093C")]
    [InlineData("\uFB01", "\uFB01")]
    [InlineData("\u1112\u1161\u11AB", "\uD55C")]
    [InlineData("\uD558\u11AB", "\uD55C")]
    [InlineData("\uD55C\u11AB", "\uD55C\u11AB")]
    [InlineData("\U0001D15E", "\U0001D157\U0001D165")]
    [InlineData("\U00011131\U00011127", "\U0001112E")]
    [InlineData("a\u0301\u0301", "\u00E1\u0301")]
    [InlineData("a\u0325\u0301", "\u1E01\u0301")]
    [InlineData("plain", "plain")]
    public void Normalize_Example_GivesFormC(string text, string expected) => Assert.Equal(expected, CanonicalComposition.Normalize(text));

    [Fact]
    public void Normalize_Twice_ChangesNothing()
    {
        var random = new Random(17);
        for (var round = 0; round < 2000; round++)
        {
            var text = new StringBuilder();
            for (var i = 0; i < 8; i++)
            {
                var codePoint = random.Next(3) switch { 0 => 0x300 + random.Next(0x70), 1 => random.Next(0x2000), _ => random.Next(0x110000) };
                if (Rune.IsValid(codePoint)) text.Append(new Rune(codePoint).ToString());
            }
            var once = CanonicalComposition.Normalize(text.ToString());
            Assert.Equal(once, CanonicalComposition.Normalize(once));
        }
    }
}
