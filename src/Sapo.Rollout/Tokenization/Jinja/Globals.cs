using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The functions that every template sees, those of transformers among them.</summary>
internal static class Globals
{
    private const long LongestRange = 100_000;

    /// <summary>A scope with all of them.</summary>
    /// <param name="clock">Tells strftime_now the local time.</param>
    public static Scope NewScope(TimeProvider clock)
    {
        var scope = new Scope(outer: null);
        foreach (var function in new[]
        {
            new TemplateFunction("range", Range), new TemplateFunction("namespace", Namespace), new TemplateFunction("dict", Mapping),
            new TemplateFunction("raise_exception", arguments => throw new TemplateException(PythonText.Str(arguments.Single("message"))) { IsRefusal = true }),
            new TemplateFunction("strftime_now", arguments => Time(clock.GetLocalNow(), PythonText.Str(arguments.Single("format")))),
        })
            scope.Set(function.Name, function);
        // Names that Jinja2 gives a value and this code does not.
        foreach (var name in new[] { "lipsum", "cycler", "joiner" })
            scope.Set(name, new TemplateFunction(name, _ => throw new TemplateException($"the function {name} is not supported")));
        return scope;
    }

    private static TemplateIterable Range(Arguments arguments)
    {
        var numbers = arguments.Positional.Select(Operators.AsWhole).ToArray();
        if (arguments.Named.Count > 0 || numbers.Length is 0 or > 3) throw new TemplateException("range needs one to three whole numbers");
        var (start, stop, step) = numbers.Length switch { 1 => (0L, numbers[0], 1L), 2 => (numbers[0], numbers[1], 1L), _ => (numbers[0], numbers[1], numbers[2]) };
        if (step == 0) throw new TemplateException("range with a step of 0");
        var items = new List<object?>();
        for (Int128 value = start; step > 0 ? value < stop : value > stop; value += step)
        {
            if (items.Count >= LongestRange) throw new TemplateException($"a range of more than {LongestRange} numbers");
            items.Add((long)value);
        }
        return new TemplateIterable(items, onlyOnce: false);
    }

    private static TemplateNamespace Namespace(Arguments arguments)
    {
        var members = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in Mapping(arguments).Entries) members[name] = value;
        return new TemplateNamespace(members);
    }

    private static TemplateMapping Mapping(Arguments arguments)
    {
        var entries = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        if (arguments.Positional.Count > 1) throw new TemplateException($"{arguments.Function} takes one mapping at most");
        foreach (var source in arguments.Positional)
        {
            if (source is not TemplateMapping mapping) throw new TemplateException($"{arguments.Function} of a {PythonText.Kind(source)} is not supported");
            foreach (var (name, value) in mapping.Entries) entries[name] = value;
        }
        foreach (var (name, value) in arguments.Named) entries[name] = value;
        return new TemplateMapping(entries);
    }

    /// <summary>The C library's strftime in the C locale, for the fields that chat templates use.</summary>
    private static string Time(DateTimeOffset time, string format)
    {
        var result = new StringBuilder();
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                result.Append(format[i]);
                continue;
            }
            var unpadded = i + 1 < format.Length && format[i + 1] == '-';
            if (unpadded) i++;
            var field = ++i < format.Length ? format[i] : '\0';
            var text = Field(time, field);
            result.Append(unpadded ? text.TrimStart('0') is { Length: > 0 } trimmed ? trimmed : "0" : text);
        }
        return result.ToString();
    }

    private static string Field(DateTimeOffset time, char field) => field switch
    {
        'Y' => time.Year.ToString("0000", CultureInfo.InvariantCulture),
        'y' => (time.Year % 100).ToString("00", CultureInfo.InvariantCulture),
        'm' => time.Month.ToString("00", CultureInfo.InvariantCulture),
        'd' => time.Day.ToString("00", CultureInfo.InvariantCulture),
        'H' => time.Hour.ToString("00", CultureInfo.InvariantCulture),
        'I' => ((time.Hour + 11) % 12 + 1).ToString("00", CultureInfo.InvariantCulture),
        'M' => time.Minute.ToString("00", CultureInfo.InvariantCulture),
        'S' => time.Second.ToString("00", CultureInfo.InvariantCulture),
        'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
        'p' => time.Hour < 12 ? "AM" : "PM",
        'B' => CultureInfo.InvariantCulture.DateTimeFormat.GetMonthName(time.Month),
        'b' => CultureInfo.InvariantCulture.DateTimeFormat.GetAbbreviatedMonthName(time.Month),
        'A' => CultureInfo.InvariantCulture.DateTimeFormat.GetDayName(time.DayOfWeek),
        'a' => CultureInfo.InvariantCulture.DateTimeFormat.GetAbbreviatedDayName(time.DayOfWeek),
        'F' => $"{Field(time, 'Y')}-{Field(time, 'm')}-{Field(time, 'd')}",
        'T' => $"{Field(time, 'H')}:{Field(time, 'M')}:{Field(time, 'S')}",
        '%' => "%",
        _ => throw new TemplateException($"strftime_now with %{field} is not supported"),
    };
}
