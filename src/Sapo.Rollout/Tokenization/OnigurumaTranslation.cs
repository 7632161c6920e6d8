// tokenizer.json states its patterns in Oniguruma's (Ruby's) dialect. This file rewrites them for .NET:
//   - every literal is escaped, so that nothing of .NET's own syntax can slip in
//   - (?i:...) becomes explicit sets, by Unicode case folding (s also matches U+017F, k also U+212A, as in Oniguruma)
//   - ?+ *+ ++ (possessive) become atomic groups
// What could mean something else in .NET (anchors, \w, \b, POSIX brackets, nested sets, scripts) is refused by name.
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>Rewrites one pattern. Use <see cref="Translate"/>.</summary>
internal sealed class OnigurumaTranslation
{
    private const int DeepestGroup = 50;
    private const string ExpandsWhenFolded = " ss st ff fi fl ";
    private static readonly HashSet<string> Categories = new(StringComparer.Ordinal)
    {
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Cn",
    };

    private static readonly string[] GroupForms = ["?:", "?i:", "?=", "?!", "?<=", "?<!", "?>"];

    private readonly string _pattern;
    private readonly JsonValue _source;
    private int _at;
    private int _depth;

    private OnigurumaTranslation(string pattern, JsonValue source)
    {
        _pattern = pattern;
        _source = source;
    }

    /// <summary>The same pattern for .NET.</summary>
    /// <param name="source">Where the pattern stands; named in errors.</param>
    public static string Translate(JsonValue source)
    {
        var translation = new OnigurumaTranslation(source.AsString(), source);
        var result = translation.Alternatives(foldCase: false);
        return translation._at == translation._pattern.Length ? result : throw translation.Refuse("an unmatched )");
    }

    private bool More => _at < _pattern.Length;

    private string Alternatives(bool foldCase)
    {
        var result = new StringBuilder(Sequence(foldCase));
        while (More && _pattern[_at] == '|')
        {
            _at++;
            result.Append('|').Append(Sequence(foldCase));
        }
        return result.ToString();
    }

    private string Sequence(bool foldCase)
    {
        var result = new StringBuilder();
        var lastLiteral = '\0';
        while (More && _pattern[_at] is not ('|' or ')'))
        {
            var literal = char.ToLowerInvariant(_pattern[_at]);
            if (foldCase && ExpandsWhenFolded.Contains($" {lastLiteral}{literal} ", StringComparison.Ordinal))
                throw Refuse($"\"{lastLiteral}{literal}\" without regard to case (one character can fold to the two)");
            lastLiteral = literal;
            result.Append(Quantified(Atom(foldCase)));
        }
        return result.ToString();
    }

    private string Atom(bool foldCase)
    {
        var character = _pattern[_at++];
        switch (character)
        {
            case '(': return Group(foldCase);
            case '[': return Set(foldCase);
            case '.': return "[^\\n]";
            case '\\': return Escape(inSet: false, out _);
            case '^' or '$': throw Refuse($"the anchor {character}");
            case '*' or '+' or '?' or '{': throw Refuse($"{character} with nothing before it");
            default: return Literal(character, foldCase);
        }
    }

    private string Group(bool foldCase)
    {
        if (++_depth > DeepestGroup) throw Refuse($"more than {DeepestGroup} groups inside each other");
        var opening = "(?:";
        if (More && _pattern[_at] == '?')
        {
            var start = _at;
            opening = GroupForms.FirstOrDefault(form => _pattern.AsSpan(start).StartsWith(form)) ?? throw Refuse("this kind of group");
            _at += opening.Length;
            foldCase |= opening == "?i:";
            opening = "(" + (opening == "?i:" ? "?:" : opening);
        }
        var inside = Alternatives(foldCase);
        if (!More) throw Refuse("a ( that is never closed");
        _at++;
        _depth--;
        return $"{opening}{inside})";
    }

    private string Quantified(string atom)
    {
        if (!More) return atom;
        string count;
        if (_pattern[_at] is '*' or '+' or '?')
        {
            count = _pattern[_at++].ToString();
            if (More && _pattern[_at] == '+')
            {
                _at++;
                return $"(?>{atom}{count})";
            }
        }
        else if (_pattern[_at] == '{')
        {
            var end = _pattern.IndexOf('}', _at);
            count = end < 0 ? "" : _pattern[_at..(end + 1)];
            if (!IsCount(count)) throw Refuse("a { that is no count like {2}, {1,} or {1,3}");
            _at = end + 1;
            if (More && (_pattern[_at] == '+' || (_pattern[_at] == '?' && !count.Contains(',', StringComparison.Ordinal)))) throw Refuse($"{count}{_pattern[_at]}");
        }
        else
        {
            return atom;
        }
        if (More && _pattern[_at] == '?')
        {
            _at++;
            count += '?';
        }
        if (More && _pattern[_at] is '*' or '+' or '?' or '{') throw Refuse("a quantifier on a quantifier");
        return atom + count;
    }

    private static bool IsCount(string count)
    {
        if (count.Length < 3) return false;
        var numbers = count[1..^1].Split(',');
        return numbers.Length <= 2 && numbers[0].Length > 0 && numbers.All(number => number.Length <= 4 && number.All(char.IsAsciiDigit));
    }

    private string Set(bool foldCase)
    {
        var result = new StringBuilder("[");
        if (More && _pattern[_at] == '^')
        {
            _at++;
            result.Append('^');
        }
        var empty = true;
        while (true)
        {
            if (!More) throw Refuse("a [ that is never closed");
            var character = _pattern[_at++];
            if (character == ']' && !empty) return result.Append(']').ToString();
            empty = false;
            if (character is '[' or ']') throw Refuse($"{character} inside a set");
            if (character == '&' && More && _pattern[_at] == '&') throw Refuse("an intersection of sets");
            var low = character;
            if (character == '\\')
            {
                var escaped = Escape(inSet: true, out var single);
                if (single is null)
                {
                    result.Append(escaped);
                    continue;
                }
                low = single.Value;
            }
            AppendRange(result, low, RangeEnd(low), foldCase);
        }
    }

    /// <summary>The last character of a range that begins with <paramref name="low"/>; <paramref name="low"/> itself where no range begins.</summary>
    private char RangeEnd(char low)
    {
        if (_at + 1 >= _pattern.Length || _pattern[_at] != '-' || _pattern[_at + 1] == ']') return low;
        _at++;
        var high = _pattern[_at++];
        if (high == '\\')
        {
            Escape(inSet: true, out var single);
            high = single ?? throw Refuse("a range that ends with a class");
        }
        return high >= low && high != '[' ? high : throw Refuse("a range whose end lies before its beginning");
    }

    private void AppendRange(StringBuilder result, char low, char high, bool foldCase)
    {
        if (char.IsSurrogate(low) || char.IsSurrogate(high)) throw Refuse("a character above U+FFFF");
        result.Append(Code(low));
        if (high != low) result.Append('-').Append(Code(high));
        if (!foldCase) return;
        if (high > 0x7F) throw Refuse("letters outside ASCII without regard to case");
        for (var character = low; character <= high; character++)
            if (char.IsAsciiLetter(character)) result.Append(Cases(character));
    }

    private string Literal(char character, bool foldCase)
    {
        if (char.IsSurrogate(character)) throw Refuse("a character above U+FFFF");
        if (!foldCase || !char.IsLetter(character)) return Code(character);
        return char.IsAsciiLetter(character) ? $"[{Cases(character)}]" : throw Refuse("letters outside ASCII without regard to case");
    }

    /// <summary>Every character that folds to the same as an ASCII letter.</summary>
    private static string Cases(char letter)
    {
        var lower = char.ToLowerInvariant(letter);
        var further = lower switch { 's' => Code('\u017F'), 'k' => Code('\u212A'), _ => "" };
        return Code(lower) + Code(char.ToUpperInvariant(letter)) + further;
    }

    /// <summary>What follows a backslash. <paramref name="single"/> is the character meant, or null when a class is.</summary>
    private string Escape(bool inSet, out char? single)
    {
        if (!More) throw Refuse("a backslash at the end");
        var character = _pattern[_at++];
        single = character switch
        {
            'n' => '\n', 'r' => '\r', 't' => '\t', 'f' => '\f', 'v' => '\v',
            _ when !char.IsAsciiLetterOrDigit(character) && !char.IsSurrogate(character) => character,
            _ => null,
        };
        if (single is { } one) return Code(one);
        switch (character)
        {
            // \s is White_Space and \d is Nd in both engines.
            case 's' or 'S' or 'd' or 'D': return $"\\{character}";
            case 'p' or 'P':
                var end = More && _pattern[_at] == '{' ? _pattern.IndexOf('}', _at) : -1;
                var name = end < 0 ? "" : _pattern[(_at + 1)..end];
                if (!Categories.Contains(name)) throw Refuse($"\\{character}{{{name}}}");
                _at = end + 1;
                return $"\\{character}{{{name}}}";
            default: throw Refuse($"\\{character}{(inSet ? " inside a set" : "")}");
        }
    }

    private static string Code(char character) => "\\u" + ((int)character).ToString("X4", CultureInfo.InvariantCulture);

    private Sapo.Core.UserErrorException Refuse(string what) =>
        _source.Unsupported($"{what} (at character {Math.Min(_at, _pattern.Length)} of the pattern {_pattern})", "sets, groups, (?i:...), look-around, \\p{category}, \\s, \\d and quantifiers");
}
