// One spelling for answers that people spell in many ways: Unicode look-alikes, LaTeX spacing and fonts, signs of
// currency and degrees, words for units, percent.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>An answer in one spelling.</summary>
/// <param name="Text">The answer; empty when there is nothing to compare.</param>
/// <param name="IsPercent">Whether it was followed by a percent sign or word.</param>
internal sealed partial record AnswerText(string Text, bool IsPercent)
{
    /// <summary>Longer answers are not judged.</summary>
    private const int Longest = 2000;

    // Around what stood in \text{...}, so that a unit is told from a product of variables.
    private const char WordsBegin = '\u0002', WordsEnd = '\u0003';

    private static readonly Dictionary<int, string> Spellings = new()
    {
        ['\u2212'] = "-", ['\u2013'] = "-", ['\u2044'] = "/", ['\u00D7'] = "\\times ", ['\u00B7'] = "\\cdot ", ['\u22C5'] = "\\cdot ", ['\u00F7'] = "\\div ",
        ['\u03C0'] = "\\pi ", ['\u221E'] = "\\infty ", ['\u00B0'] = "\\degree ", ['\u2264'] = "\\le ", ['\u2265'] = "\\ge ", ['\u2248'] = "\\approx ", ['\u222A'] = "\\cup ", ['\u2205'] = "\\emptyset ",
        ['\u00B2'] = "^{2}", ['\u00B3'] = "^{3}", ['\u221A'] = "\\sqrt ", ['\u3002'] = ".",
        ['\u00BD'] = "\\frac{1}{2}", ['\u2153'] = "\\frac{1}{3}", ['\u2154'] = "\\frac{2}{3}", ['\u00BC'] = "\\frac{1}{4}", ['\u00BE'] = "\\frac{3}{4}",
        ['\u2155'] = "\\frac{1}{5}", ['\u2156'] = "\\frac{2}{5}", ['\u2157'] = "\\frac{3}{5}", ['\u2158'] = "\\frac{4}{5}", ['\u2159'] = "\\frac{1}{6}", ['\u215A'] = "\\frac{5}{6}",
        ['\u215B'] = "\\frac{1}{8}", ['\u215C'] = "\\frac{3}{8}", ['\u215D'] = "\\frac{5}{8}", ['\u215E'] = "\\frac{7}{8}",
        // Characters without width.
        ['\u200B'] = "", ['\u200C'] = "", ['\u200D'] = "", ['\u2060'] = "", ['\uFEFF'] = "",
    };

    /// <summary>The answer in one spelling; nothing if it is too long to be judged.</summary>
    public static AnswerText Of(string answer)
    {
        var text = CollapsedBlanks(answer);
        if (text.Length > Longest) return new AnswerText("", IsPercent: false);
        text = WithoutFonts(WithoutSpacing(Respelled(text)));
        text = Enclosing().Replace(text.Trim(), "${inside}").Trim();
        text = Currency().Replace(text, "");
        text = Degrees().Replace(text, "");
        text = text.TrimEnd('.', ' ', WordsEnd) is var bare && bare.EndsWith(WordsBegin) ? "" : text;
        var percent = Percent().Match(text);
        if (percent.Success) text = text[..percent.Index];
        else text = WithoutUnit(text);
        text = text.Replace(WordsBegin, ' ').Replace(WordsEnd, ' ');
        text = Times().Replace(text, "\\times ");
        text = Repeating().Replace(text, RepeatingFraction);
        text = MixedNumber().Replace(CollapsedBlanks(text).Trim().TrimEnd('.').Trim(), @"${sign}(${whole}+${above}/${below})");
        return new AnswerText(RootOfDigits().Replace(text, @"\sqrt{${digits}}"), percent.Success);
    }

    private static string CollapsedBlanks(string text)
    {
        var result = new StringBuilder();
        foreach (var character in text)
        {
            var blank = char.IsWhiteSpace(character);
            if (!blank) result.Append(character);
            else if (result.Length > 0 && result[^1] != ' ') result.Append(' ');
        }
        return result.ToString().Trim();
    }

    private static string Respelled(string text)
    {
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (Spellings.TryGetValue(rune.Value, out var spelling)) result.Append(spelling);
            else if (rune.Value is >= 0xFF01 and <= 0xFF5E) result.Append((char)(rune.Value - 0xFEE0)); // full-width forms of ASCII
            else if (rune.Value > 0x7F && Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber) result.Append((int)Rune.GetNumericValue(rune));
            else result.Append(rune.ToString());
        }
        return result.ToString();
    }

    private static string WithoutSpacing(string text)
    {
        text = Sizing().Replace(text, "");
        text = text.Replace("{,}", ",", StringComparison.Ordinal).Replace("{:}", ":", StringComparison.Ordinal).Replace("\\!", "", StringComparison.Ordinal);
        return Space().Replace(text, " ");
    }

    /// <summary>\text{...} and fonts: the content, marked as words if it was set as text.</summary>
    private static string WithoutFonts(string text)
    {
        // Each round takes the innermost ones; deeper nesting than this is not judged.
        for (var round = 0; round < 5 && Font().IsMatch(text); round++)
            text = Font().Replace(text, match => match.Groups["words"].Success && match.Groups["inside"].ValueSpan.ContainsAnyInRange('A', 'z')
                ? $"{WordsBegin}{match.Groups["inside"].Value}{WordsEnd}"
                : $" {match.Groups["inside"].Value} ");
        return text;
    }

    /// <summary>0.1\overline{6} = 1/10 + 6/90.</summary>
    private static string RepeatingFraction(Match match)
    {
        var (fixedDigits, again) = (match.Groups["fixed"].Value, match.Groups["again"].Value);
        var scale = "1" + new string('0', fixedDigits.Length);
        return $"({match.Groups["whole"].Value}.{fixedDigits}0 + {again}/({new string('9', again.Length)}*{scale}))";
    }

    /// <summary>Takes a unit off: words behind a number, with their exponent. "or" and "and" join two answers and are no unit.</summary>
    private static string WithoutUnit(string text)
    {
        var unit = Unit().Match(text);
        if (!unit.Success || Joining().IsMatch(unit.Value)) return text;
        var number = text[..unit.Index];
        return number.AsSpan().ContainsAnyInRange('0', '9') || number.Contains("\\pi", StringComparison.Ordinal) ? number : text;
    }

    [GeneratedRegex(@"^(\$\$?(?<inside>[^$]*)\$\$?|\\\((?<inside>.*)\\\)|\\\[(?<inside>.*)\\\])$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Enclosing();

    [GeneratedRegex(@"\\?\$|[\u20AC\u00A3\u00A5]", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Currency();

    [GeneratedRegex(@"\s*(\^\s*(\{\s*)?\\(circ|degree)\b\s*\}?|\\degree\b)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Degrees();

    [GeneratedRegex(@"\s*\\?%\s*\.?$|[\s\u0002]*\bpercent[\s\u0003]*\.?$", RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Percent();

    [GeneratedRegex(@"\\(left|right|big|Big|bigl|bigr|displaystyle|textstyle)(?![A-Za-z])\s*", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Sizing();

    [GeneratedRegex(@"\\[,;: ]|\\q?quad(?![A-Za-z])|~", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Space();

    [GeneratedRegex(@"\\((?<words>text|textbf|textit|textrm|mathrm|mbox|operatorname)|mathbf|mathit|boxed|bm)\s*\{(?<inside>[^{}]*)\}", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Font();

    // Marked words without digits, abbreviations, or words of three letters and more behind a blank; each perhaps with ^2 or per another.
    [GeneratedRegex(@"((\s*/?\s*\u0002[^0-9\u0002\u0003]*\u0003|(\s+|(?<=[0-9]))(cm|mm|km|kg|mg|ml|ft|in|lb|oz|hr)\b|\s+[A-Za-z]{3,}(\s+[A-Za-z]+)*|(?<=[A-Za-z\u0003]\s*)/\s*[A-Za-z]+)\s*(\^\s*\{?\s*[0-9]\s*\}?)?)+\s*\.?$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Unit();

    [GeneratedRegex(@"\b(or|and|to|not|pi|sqrt)\b", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Joining();

    [GeneratedRegex(@"^(?<sign>[-+]?)\s*(?<whole>[0-9]+)\s+(?<above>[0-9]+)\s*/\s*(?<below>[0-9]+)$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex MixedNumber();

    // 1.2 x 10^3, as people type it.
    [GeneratedRegex(@"(?<=[0-9])\s*x\s*(?=10\s*\^)", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Times();

    [GeneratedRegex(@"(?<whole>[0-9]{0,50})\.(?<fixed>[0-9]{0,50})\\overline\s*\{(?<again>[0-9]{1,50})\}", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Repeating();

    // A root sign as a character takes the whole number behind it; \sqrt12 in LaTeX only its first digit, but nobody means that.
    [GeneratedRegex(@"\\sqrt\s*(?<digits>[0-9]+)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex RootOfDigits();
}
