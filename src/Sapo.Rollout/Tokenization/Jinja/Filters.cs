using System.Globalization;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The filters of Jinja2 on single values; <see cref="SequenceFilters"/> has those on sequences.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, Func<object?, Arguments, object?>> All = new(SequenceFilters.All, StringComparer.Ordinal)
    {
        ["default"] = Default,
        ["string"] = (value, arguments) => Plain(arguments, value is MarkedText ? value : PythonText.Str(value)),
        ["upper"] = (value, arguments) => Plain(arguments, PythonText.Upper(Text(value))),
        ["lower"] = (value, arguments) => Plain(arguments, PythonText.Lower(Text(value))),
        ["capitalize"] = (value, arguments) => Plain(arguments, PythonText.Capitalize(Text(value))),
        ["title"] = (value, arguments) => Plain(arguments, Title(Text(value))),
        ["trim"] = (value, arguments) => StringMethods.Strip(Text(value), arguments.Bind("chars")[0]?.Value is { } characters ? Text(characters) : null, left: true, right: true),
        ["replace"] = Replace,
        ["indent"] = Indent,
        ["format"] = Format,
        ["tojson"] = ToJson,
        ["escape"] = (value, arguments) => Plain(arguments, value is MarkedText ? value : new MarkedText(Escape(Text(value)))),
        ["safe"] = (value, arguments) => Plain(arguments, value is MarkedText ? value : new MarkedText(Text(value))),
        ["int"] = (value, arguments) => Number(value, arguments, whole: true),
        ["float"] = (value, arguments) => Number(value, arguments, whole: false),
        ["abs"] = Absolute,
        ["round"] = Round,
    };

    private static readonly Dictionary<string, string> Aliases = new(StringComparer.Ordinal) { ["d"] = "default", ["e"] = "escape", ["count"] = "length" };

    /// <summary>One filter.</summary>
    public static object? Apply(string name, object? value, Arguments arguments) =>
        All.TryGetValue(Aliases.GetValueOrDefault(name, name), out var filter) ? filter(value, arguments) : throw new TemplateException($"the filter '{name}' is not supported");

    /// <summary>A value after making sure that the filter has no arguments.</summary>
    public static object? Plain(Arguments arguments, object? value)
    {
        arguments.None();
        return value;
    }

    private static string Text(object? value) => value is MarkedText ? throw new TemplateException("text marked by escape or safe can only be printed") : PythonText.Str(value);

    private static object? Default(object? value, Arguments arguments)
    {
        var given = arguments.Bind("default_value", "boolean");
        var replace = value is Undefined || (given[1] is { } alsoFalse && Operators.IsTrue(alsoFalse.Value) && !Operators.IsTrue(value));
        return replace ? given[0] is { } replacement ? replacement.Value : "" : value;
    }

    /// <summary>Jinja2's own title: a word begins after white space, a hyphen or an opening bracket.</summary>
    private static string Title(string text)
    {
        var words = new List<string>();
        var start = 0;
        for (var i = 1; i <= text.Length; i++)
        {
            if (i < text.Length && IsBoundary(text[i]) == IsBoundary(text[i - 1])) continue;
            words.Add(PythonText.Capitalize(text[start..i]));
            start = i;
        }
        return string.Concat(words);

        static bool IsBoundary(char character) => PythonText.IsSpace(character) || character is '-' or '(' or '{' or '[' or '<';
    }

    private static string Replace(object? value, Arguments arguments)
    {
        var given = arguments.Bind("old", "new", "count");
        if (given[0] is not { } old || given[1] is not { } replacement) throw new TemplateException("replace needs two strings");
        return StringMethods.Replace(Text(value), Text(old.Value), Text(replacement.Value), given[2]?.Value is { } count ? Operators.AsWhole(count) : -1);
    }

    private static string Indent(object? value, Arguments arguments)
    {
        var given = arguments.Bind("width", "first", "blank");
        var indentation = given[0]?.Value switch { string blanks => blanks, null => "    ", var width => new string(' ', (int)Math.Clamp(Operators.AsWhole(width), 0, 1000)) };
        var first = given[1] is { } flag && Operators.IsTrue(flag.Value);
        var blank = given[2] is { } blankFlag && Operators.IsTrue(blankFlag.Value);
        if (value is not string text) throw new TemplateException($"indent of a {PythonText.Kind(value)}");
        var lines = PythonText.Lines(text + "\n");
        for (var i = 1; i < lines.Count; i++)
            if (blank || lines[i].Length > 0) lines[i] = indentation + lines[i];
        return (first ? indentation : "") + string.Join("\n", lines);
    }

    /// <summary>Python's <c>text % arguments</c>, for %s, %d and %%.</summary>
    private static string Format(object? value, Arguments arguments)
    {
        if (arguments.Named.Count > 0) throw new TemplateException("format with named arguments is not supported");
        var format = Text(value);
        var result = new System.Text.StringBuilder();
        var next = 0;
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                result.Append(format[i]);
                continue;
            }
            var kind = ++i < format.Length ? format[i] : '\0';
            if (kind == '%') result.Append('%');
            else if (kind is not ('s' or 'd')) throw new TemplateException($"format of %{kind} is not supported");
            else if (next >= arguments.Positional.Count) throw new TemplateException("format has more places than arguments");
            else result.Append(kind == 's' ? PythonText.Str(arguments.Positional[next++]) : PythonText.Repr(Operators.AsWhole(arguments.Positional[next++])));
        }
        return next == arguments.Positional.Count ? result.ToString() : throw new TemplateException("format has more arguments than places");
    }

    private static string ToJson(object? value, Arguments arguments)
    {
        var given = arguments.Bind("ensure_ascii", "indent", "separators", "sort_keys");
        if (given[0] is { } ascii && Operators.IsTrue(ascii.Value)) throw new TemplateException("tojson with ensure_ascii is not supported");
        var indent = given[1]?.Value switch { null => null, string text => text, var width => new string(' ', (int)Math.Clamp(Operators.AsWhole(width), 0, 1000)) };
        string[] separators = given[2]?.Value is TemplateList { Items: [string item, string key] } ? [item, key] : given[2]?.Value is null ? [indent is null ? ", " : ",", ": "] : throw new TemplateException("tojson needs two separators");
        return JsonText.Write(value, indent, separators[0], separators[1], given[3] is { } sort && Operators.IsTrue(sort.Value));
    }

    private static string Escape(string text) => text
        .Replace("&", "&amp;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    private static object? Number(object? value, Arguments arguments, bool whole)
    {
        var absent = arguments.Bind("default")[0]?.Value ?? (whole ? 0L : (object)0.0);
        switch (value)
        {
            case bool or long when whole: return Operators.AsWhole(value);
            case bool or long or double when !whole: return Operators.AsNumber(value);
            case double number:
                return Math.Abs(number) < long.MaxValue ? (long)number : throw new TemplateException("int of a number that is too large");
            case string text:
                var digits = StringMethods.Strip(text, null, left: true, right: true);
                if (digits.Contains('_', StringComparison.Ordinal) || digits.Any(character => character > 0x7F)) throw new TemplateException($"{arguments.Function} of '{text}' is not supported");
                if (whole && long.TryParse(digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer)) return integer;
                if (!double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out var parsed) || !digits.Any(char.IsAsciiDigit)) return absent;
                return whole ? Number(parsed, arguments, whole) : parsed;
            case Undefined undefined: throw new TemplateException($"'{undefined.Name}' is undefined");
            default: return absent;
        }
    }

    private static object? Absolute(object? value, Arguments arguments) => Plain(arguments, value switch
    {
        double number => (object)Math.Abs(number),
        long.MinValue => throw new TemplateException("abs of a number that is too large"),
        bool or long => Math.Abs(Operators.AsWhole(value)),
        _ => throw new TemplateException($"abs of a {PythonText.Kind(value)}"),
    });

    /// <summary>Half to even, as Python's round; whole numbers stay as they are.</summary>
    private static object Round(object? value, Arguments arguments)
    {
        var given = arguments.Bind("precision", "method");
        if (given[1] is { Value: not "common" }) throw new TemplateException("round with another method than common is not supported");
        var precision = given[0] is { } digits ? Operators.AsWhole(digits.Value) : 0;
        if (precision is < 0 or > 15) throw new TemplateException("round to this precision is not supported");
        if (value is long or bool) return Operators.AsWhole(value);
        if (value is not double number) throw new TemplateException($"round of a {PythonText.Kind(value)}");
        // Rounds the exact decimal value, as Python does; Math.Round would scale first.
        return double.Parse(number.ToString($"F{precision}", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }
}
