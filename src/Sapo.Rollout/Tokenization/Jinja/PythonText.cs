// How Python writes values as text, and what it does to text: templates are written against these rules.
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Python's str, repr and string rules. Texts are sequences of code points, not of UTF-16 units.</summary>
internal static class PythonText
{
    /// <summary>What <c>str.strip</c> takes away: Unicode white space and the four separators U+001C to U+001F.</summary>
    public static readonly char[] WhiteSpace = [.. Enumerable.Range(0, 0x10000).Select(code => (char)code).Where(IsSpace)];

    /// <summary>Python's <c>str.isspace</c> of one character.</summary>
    public static bool IsSpace(char character) => char.IsWhiteSpace(character) || character is >= '\u001C' and <= '\u001F';

    /// <summary>Python's <c>str(value)</c>; an undefined value is empty.</summary>
    public static string Str(object? value) => value switch
    {
        string text => text,
        MarkedText marked => marked.Text,
        Undefined => "",
        _ => Repr(value),
    };

    /// <summary>Python's <c>repr(value)</c>.</summary>
    public static string Repr(object? value)
    {
        StackGuard.Check();
        return value switch
        {
            null => "None",
            true => "True",
            false => "False",
            long whole => whole.ToString(CultureInfo.InvariantCulture),
            double number => Float(number),
            string text => Quoted(text),
            Undefined => "Undefined",
            TemplateList { IsTuple: true, Items: [var only] } => $"({Repr(only)},)",
            TemplateList { IsTuple: true } tuple => $"({string.Join(", ", tuple.Items.Select(Repr))})",
            TemplateList list => $"[{string.Join(", ", list.Items.Select(Repr))}]",
            TemplateMapping mapping => $"{{{string.Join(", ", mapping.Entries.Select(entry => $"{Quoted(entry.Key)}: {Repr(entry.Value)}"))}}}",
            _ => throw new TemplateException($"a {Kind(value)} cannot be printed"),
        };
    }

    /// <summary>The kind of a value, for errors.</summary>
    public static string Kind(object? value) => value switch
    {
        null => "None",
        bool => "truth value",
        long or double => "number",
        string => "string",
        Undefined undefined => $"undefined value ('{undefined.Name}')",
        TemplateList { IsTuple: true } => "tuple",
        TemplateList => "list",
        TemplateMapping => "mapping",
        TemplateNamespace => "namespace",
        TemplateIterable => "sequence without a text (a range, or what map, select, reverse or items give)",
        MarkedText => "text marked by escape or safe",
        TemplateFunction => "function",
        _ => value.GetType().Name,
    };

    /// <summary>Python's text of a float: the shortest that reads back, with an exponent below 1e-4 and from 1e16.</summary>
    public static string Float(double number)
    {
        if (double.IsNaN(number)) return "nan";
        if (double.IsInfinity(number)) return number > 0 ? "inf" : "-inf";
        var shortest = number.ToString("E16", CultureInfo.InvariantCulture);
        foreach (var digits in Enumerable.Range(0, 17))
        {
            var candidate = number.ToString($"E{digits}", CultureInfo.InvariantCulture);
            if (double.Parse(candidate, CultureInfo.InvariantCulture) != number) continue;
            shortest = candidate;
            break;
        }
        var exponentAt = shortest.IndexOf('E', StringComparison.Ordinal);
        var exponent = int.Parse(shortest.AsSpan(exponentAt + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        var mantissa = shortest[..exponentAt];
        if (exponent is < -4 or >= 16) return $"{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        var decimals = Math.Max(1, mantissa.Count(char.IsAsciiDigit) - 1 - exponent);
        return number.ToString($"F{decimals}", CultureInfo.InvariantCulture);
    }

    /// <summary>Number of code points.</summary>
    public static int Length(string text)
    {
        var length = text.Length;
        foreach (var unit in text)
            if (char.IsLowSurrogate(unit)) length--;
        return length;
    }

    /// <summary>The code points of a text, each as a string.</summary>
    public static List<string> CodePoints(string text)
    {
        var codePoints = new List<string>(text.Length);
        foreach (var rune in text.EnumerateRunes()) codePoints.Add(rune.ToString());
        return codePoints;
    }

    /// <summary>Python's order of strings, by code point.</summary>
    public static int Compare(string left, string right)
    {
        var runes = right.EnumerateRunes();
        foreach (var rune in left.EnumerateRunes())
        {
            if (!runes.MoveNext()) return 1;
            var order = rune.Value.CompareTo(runes.Current.Value);
            if (order != 0) return order;
        }
        return runes.MoveNext() ? -1 : 0;
    }

    /// <summary><c>str.upper</c>.</summary>
    public static string Upper(string text)
    {
        foreach (var character in text)
            if (HasSpecialUpperCase(character)) throw new TemplateException($"upper of the character '{character}' is not supported");
        return text.ToUpperInvariant();
    }

    /// <summary><c>str.lower</c>.</summary>
    public static string Lower(string text)
    {
        foreach (var character in text)
            if (character is 'İ' or 'Σ' or 'ẞ') throw new TemplateException($"lower of the character '{character}' is not supported");
        return text.ToLowerInvariant();
    }

    /// <summary><c>str.capitalize</c>: the first character large, the others small.</summary>
    public static string Capitalize(string text)
    {
        if (text.Length == 0) return text;
        var first = char.IsHighSurrogate(text[0]) && text.Length > 1 ? 2 : 1;
        // Georgian letters have an upper case, but their title case is the letter itself.
        return (text[0] is >= '\u10D0' and <= '\u10FF' ? text[..first] : Upper(text[..first])) + Lower(text[first..]);
    }

    /// <summary><c>str.splitlines()</c>.</summary>
    public static List<string> Lines(string text)
    {
        var lines = new List<string>();
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] is not ((>= '\n' and <= '\r') or (>= '\u001C' and <= '\u001E') or '\u0085' or '\u2028' or '\u2029')) continue;
            lines.Add(text[start..i]);
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n') i++;
            start = i + 1;
        }
        if (start < text.Length) lines.Add(text[start..]);
        return lines;
    }

    /// <summary>Characters whose upper case is several characters, a title case, or not the one that .NET's invariant culture knows.</summary>
    private static bool HasSpecialUpperCase(char character) => character is 'ß' or 'ŉ' or 'ǰ' or 'ΐ' or 'ΰ' or 'և' or 'ı' or 'ſ'
        or (>= '\u01C4' and <= '\u01CC') or (>= '\u01F1' and <= '\u01F3') or (>= '\u1E96' and <= '\u1E9E') or (>= '\u1F50' and <= '\u1F57') or (>= '\u1F80' and <= '\u1FFC')
        or (>= '\uFB00' and <= '\uFB17');

    private static string Quoted(string text)
    {
        var quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        var result = new StringBuilder().Append(quote);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value == quote || rune.Value == '\\') result.Append('\\').Append(rune.ToString());
            else if (rune.Value == '\n') result.Append("\\n");
            else if (rune.Value == '\r') result.Append("\\r");
            else if (rune.Value == '\t') result.Append("\\t");
            else if (rune.Value == ' ' || IsPrintable(rune)) result.Append(rune.ToString());
            else result.Append(rune.Value <= 0xFF ? $"\\x{rune.Value:x2}" : rune.IsBmp ? $"\\u{rune.Value:x4}" : $"\\U{rune.Value:x8}");
        }
        return result.Append(quote).ToString();
    }

    private static bool IsPrintable(Rune rune) => Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);
}
