using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The methods of Python's strings.</summary>
internal static class StringMethods
{
    private static readonly Dictionary<string, Func<string, Arguments, object?>> Methods = new(StringComparer.Ordinal)
    {
        ["upper"] = (text, arguments) => Plain(arguments, PythonText.Upper(text)),
        ["lower"] = (text, arguments) => Plain(arguments, PythonText.Lower(text)),
        ["capitalize"] = (text, arguments) => Plain(arguments, PythonText.Capitalize(text)),
        ["title"] = (text, arguments) => Plain(arguments, Title(text)),
        ["strip"] = (text, arguments) => Strip(text, arguments, left: true, right: true),
        ["lstrip"] = (text, arguments) => Strip(text, arguments, left: true, right: false),
        ["rstrip"] = (text, arguments) => Strip(text, arguments, left: false, right: true),
        ["split"] = (text, arguments) => Split(text, arguments, fromRight: false),
        ["rsplit"] = (text, arguments) => Split(text, arguments, fromRight: true),
        ["splitlines"] = (text, arguments) => Plain(arguments, Strings(PythonText.Lines(text))),
        ["startswith"] = (text, arguments) => Affixes(arguments).Any(affix => text.StartsWith(affix, StringComparison.Ordinal)),
        ["endswith"] = (text, arguments) => Affixes(arguments).Any(affix => text.EndsWith(affix, StringComparison.Ordinal)),
        ["replace"] = Replace,
        ["find"] = (text, arguments) => Find(text, arguments, last: false),
        ["rfind"] = (text, arguments) => Find(text, arguments, last: true),
        ["index"] = (text, arguments) => Find(text, arguments, last: false) is >= 0 and var at ? at : throw new TemplateException("index: the substring is not in the string"),
        ["count"] = Count,
        ["join"] = (text, arguments) => string.Join(text, Operators.Items(arguments.Single("iterable")).Select(item => item as string ?? throw new TemplateException("join of something else than strings"))),
        ["isdigit"] = (text, arguments) => Plain(arguments, All(text, rune => Rune.GetUnicodeCategory(rune) == UnicodeCategory.DecimalDigitNumber, "isdigit")),
        ["isalpha"] = (text, arguments) => Plain(arguments, All(text, Rune.IsLetter, "isalpha")),
        ["isspace"] = (text, arguments) => Plain(arguments, text.Length > 0 && text.All(PythonText.IsSpace)),
        ["removeprefix"] = (text, arguments) => Required(arguments, "prefix") is var prefix && text.StartsWith(prefix, StringComparison.Ordinal) ? text[prefix.Length..] : text,
        ["removesuffix"] = (text, arguments) => Required(arguments, "suffix") is var suffix && text.EndsWith(suffix, StringComparison.Ordinal) ? text[..^suffix.Length] : text,
    };

    private static readonly HashSet<string> OtherMethods = new(StringComparer.Ordinal)
    {
        "casefold", "center", "encode", "expandtabs", "format", "format_map", "isalnum", "isascii", "isdecimal", "isidentifier", "islower", "isnumeric", "isprintable",
        "istitle", "isupper", "ljust", "maketrans", "partition", "rindex", "rjust", "rpartition", "swapcase", "translate", "zfill",
    };

    /// <summary>A method of a text, or null where Python's strings have none of that name.</summary>
    public static TemplateFunction? Find(string text, string name)
    {
        if (OtherMethods.Contains(name)) throw new TemplateException($"the method {name} of a string is not supported");
        return Methods.TryGetValue(name, out var method) ? new TemplateFunction(name, arguments => method(text, arguments)) : null;
    }

    /// <summary>Python's <c>str.replace</c>; at most <paramref name="most"/> times if that is not negative.</summary>
    public static string Replace(string text, string old, string replacement, long most)
    {
        if (old.Length == 0) throw new TemplateException("replace of an empty string is not supported");
        if (most < 0) return text.Replace(old, replacement, StringComparison.Ordinal);
        var result = new StringBuilder();
        var start = 0;
        for (var at = text.IndexOf(old, StringComparison.Ordinal); at >= 0 && most > 0; at = text.IndexOf(old, start, StringComparison.Ordinal), most--)
        {
            result.Append(text, start, at - start).Append(replacement);
            start = at + old.Length;
        }
        return result.Append(text, start, text.Length - start).ToString();
    }

    /// <summary>Python's strip, of white space or of the characters given.</summary>
    public static string Strip(string text, string? characters, bool left, bool right)
    {
        var runes = characters?.EnumerateRunes().ToHashSet();
        int start = 0, end = text.Length;
        while (left && start < end && Rune.DecodeFromUtf16(text.AsSpan(start, end - start), out var rune, out var used) == System.Buffers.OperationStatus.Done && Goes(rune)) start += used;
        while (right && start < end && Rune.DecodeLastFromUtf16(text.AsSpan(start, end - start), out var rune, out var used) == System.Buffers.OperationStatus.Done && Goes(rune)) end -= used;
        return text[start..end];

        bool Goes(Rune rune) => runes?.Contains(rune) ?? (rune.IsBmp && PythonText.IsSpace((char)rune.Value));
    }

    private static object? Plain(Arguments arguments, object? value)
    {
        arguments.None();
        return value;
    }

    private static TemplateList Strings(IEnumerable<string> items) => new([.. items]);

    private static string Strip(string text, Arguments arguments, bool left, bool right) =>
        Strip(text, arguments.Bind("characters")[0]?.Value is { } characters ? AsText(characters, arguments) : null, left, right);

    private static TemplateList Split(string text, Arguments arguments, bool fromRight)
    {
        var given = arguments.Bind("sep", "maxsplit");
        var most = given[1] is { } limit ? Operators.AsWhole(limit.Value) : -1;
        if (given[0]?.Value is null) return most < 0 ? Strings(text.Split(PythonText.WhiteSpace, StringSplitOptions.RemoveEmptyEntries)) : throw new TemplateException($"{arguments.Function} at white space with a limit is not supported");
        var separator = AsText(given[0]!.Value.Value, arguments);
        if (separator.Length == 0) throw new TemplateException($"{arguments.Function} at an empty separator");
        var parts = text.Split(separator).ToList();
        if (most < 0 || parts.Count <= most + 1) return Strings(parts);
        var kept = (int)most;
        return fromRight
            ? Strings([string.Join(separator, parts[..^kept]), .. parts[^kept..]])
            : Strings([.. parts[..kept], string.Join(separator, parts[kept..])]);
    }

    private static IEnumerable<string> Affixes(Arguments arguments) => arguments.Single("affix") switch
    {
        TemplateList { IsTuple: true } several => several.Items.Select(item => AsText(item, arguments)),
        var one => [AsText(one, arguments)],
    };

    private static string Replace(string text, Arguments arguments)
    {
        var given = arguments.Bind("old", "new", "count");
        if (given[0] is not { } old || given[1] is not { } replacement) throw new TemplateException("replace needs two strings");
        return Replace(text, AsText(old.Value, arguments), AsText(replacement.Value, arguments), given[2] is { } count ? Operators.AsWhole(count.Value) : -1);
    }

    private static long Find(string text, Arguments arguments, bool last)
    {
        var part = Required(arguments, "sub");
        var at = last ? text.LastIndexOf(part, StringComparison.Ordinal) : text.IndexOf(part, StringComparison.Ordinal);
        return at < 0 ? -1 : PythonText.Length(text[..at]);
    }

    private static object? Count(string text, Arguments arguments)
    {
        var part = Required(arguments, "sub");
        return part.Length == 0 ? PythonText.Length(text) + 1L : text.Split(part).Length - 1L;
    }

    /// <summary>Python's <c>str.title</c>: every run of letters begins large and goes on small.</summary>
    private static string Title(string text)
    {
        var result = new StringBuilder();
        var inWord = false;
        foreach (var rune in text.EnumerateRunes())
        {
            var character = rune.ToString();
            result.Append(!Rune.IsLetter(rune) ? character : inWord ? PythonText.Lower(character) : PythonText.Capitalize(character));
            inWord = Rune.IsLetter(rune) && (Rune.IsLower(rune) || Rune.IsUpper(rune));
        }
        return result.ToString();
    }

    private static bool All(string text, Func<Rune, bool> test, string method)
    {
        // isdigit also holds for superscripts and other digits that are no decimals: not told apart here.
        if (method == "isdigit" && text.Any(character => CharUnicodeInfo.GetUnicodeCategory(character) == UnicodeCategory.OtherNumber)) throw new TemplateException("isdigit of a number that is no decimal digit is not supported");
        return text.Length > 0 && text.EnumerateRunes().All(test);
    }

    private static string Required(Arguments arguments, string parameter) => AsText(arguments.Single(parameter), arguments);

    private static string AsText(object? value, Arguments arguments) =>
        value as string ?? throw new TemplateException(value is Undefined undefined ? $"'{undefined.Name}' is undefined" : $"{arguments.Function} of a {PythonText.Kind(value)} where a string is needed");
}
