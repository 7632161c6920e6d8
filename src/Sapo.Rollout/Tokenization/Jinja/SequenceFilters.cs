namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The filters of Jinja2 on sequences.</summary>
internal static class SequenceFilters
{
    /// <summary>All of them by name.</summary>
    public static readonly Dictionary<string, Func<object?, Arguments, object?>> All = new(StringComparer.Ordinal)
    {
        ["length"] = (value, arguments) => Filters.Plain(arguments, Operators.Length(value)),
        ["list"] = (value, arguments) => Filters.Plain(arguments, new TemplateList([.. Operators.Items(value)])),
        ["first"] = (value, arguments) => Filters.Plain(arguments, Operators.Items(value) is [var first, ..] ? first : new Undefined("the first item of nothing")),
        ["last"] = (value, arguments) => Filters.Plain(arguments, Operators.Items(value) is [.., var last] ? last : new Undefined("the last item of nothing")),
        ["join"] = Join,
        ["reverse"] = Reverse,
        ["items"] = Items,
        ["sort"] = Sort,
        ["unique"] = Unique,
        ["max"] = (value, arguments) => Extreme(value, arguments, 1),
        ["min"] = (value, arguments) => Extreme(value, arguments, -1),
        ["sum"] = Sum,
        ["map"] = Map,
        ["select"] = (value, arguments) => Select(value, arguments, byAttribute: false, keep: true),
        ["reject"] = (value, arguments) => Select(value, arguments, byAttribute: false, keep: false),
        ["selectattr"] = (value, arguments) => Select(value, arguments, byAttribute: true, keep: true),
        ["rejectattr"] = (value, arguments) => Select(value, arguments, byAttribute: true, keep: false),
    };

    private static string Join(object? value, Arguments arguments)
    {
        var given = arguments.Bind("d", "attribute");
        return string.Join(given[0] is { } separator ? Printed(separator.Value) : "", Operators.Items(value).Select(item => Printed(Of(item, given[1]))));

        static string Printed(object? item) => item is MarkedText ? throw new TemplateException("join of text marked by escape or safe is not supported") : PythonText.Str(item);
    }

    private static object? Reverse(object? value, Arguments arguments)
    {
        arguments.None();
        var reversed = Operators.Items(value).Reverse().ToArray();
        return value is string ? string.Concat(reversed) : new TemplateIterable(reversed, onlyOnce: true);
    }

    private static TemplateIterable Items(object? value, Arguments arguments)
    {
        arguments.None();
        return value switch
        {
            Undefined => new TemplateIterable([], onlyOnce: true),
            TemplateMapping mapping => new TemplateIterable([.. mapping.Entries.Select(entry => new TemplateList([entry.Key, entry.Value], IsTuple: true))], onlyOnce: true),
            _ => throw new TemplateException($"items of a {PythonText.Kind(value)}"),
        };
    }

    private static TemplateList Sort(object? value, Arguments arguments)
    {
        var given = arguments.Bind("reverse", "case_sensitive", "attribute");
        var items = Operators.Items(value);
        object?[] keys = [.. items.Select(item => Folded(Of(item, given[2]), given[1]))];
        // Whether keys can be compared is found out first: a sort would wrap the error.
        for (var i = 1; i < keys.Length; i++) Operators.Order(keys[i - 1], keys[i]);
        var order = Comparer<int>.Create((left, right) => Operators.Order(keys[left], keys[right]));
        var places = Enumerable.Range(0, keys.Length);
        var reverse = given[0] is { } flag && Operators.IsTrue(flag.Value);
        return new TemplateList([.. (reverse ? places.OrderDescending(order) : places.Order(order)).Select(place => items[place])]);
    }

    private static TemplateIterable Unique(object? value, Arguments arguments)
    {
        var given = arguments.Bind("case_sensitive", "attribute");
        var keys = new List<object?>();
        var kept = new List<object?>();
        foreach (var item in Operators.Items(value))
        {
            var key = Folded(Of(item, given[1]), given[0]);
            if (key is TemplateList { IsTuple: false } or TemplateMapping) throw new TemplateException($"unique of a {PythonText.Kind(key)}");
            if (keys.Exists(other => Operators.AreEqual(other, key))) continue;
            keys.Add(key);
            kept.Add(item);
        }
        return new TemplateIterable(kept, onlyOnce: true);
    }

    private static object? Extreme(object? value, Arguments arguments, int sign)
    {
        var given = arguments.Bind("case_sensitive", "attribute");
        var items = Operators.Items(value);
        if (items.Count == 0) return new Undefined("an extreme of nothing");
        return items.Aggregate((best, item) => sign * Operators.Order(Key(item), Key(best)) > 0 ? item : best);

        object? Key(object? item) => Folded(Of(item, given[1]), given[0]);
    }

    private static object? Sum(object? value, Arguments arguments)
    {
        var given = arguments.Bind("attribute", "start");
        return Operators.Items(value).Aggregate(given[1] is { } start ? start.Value : 0L, (sum, item) => Operators.Apply("+", sum, Of(item, given[0])));
    }

    private static TemplateIterable Map(object? value, Arguments arguments)
    {
        var items = Operators.Items(value);
        if (arguments.Positional.Count > 0)
        {
            var filter = FilterName(arguments);
            var inner = new Arguments(filter, [.. arguments.Positional.Skip(1)], arguments.Named);
            return new TemplateIterable([.. items.Select(item => Filters.Apply(filter, item, inner))], onlyOnce: true);
        }
        var given = arguments.Bind("attribute", "default");
        if (given[0] is null) throw new TemplateException("map needs a filter's name or attribute=");
        return new TemplateIterable([.. items.Select(item => Of(item, given[0]) is var member && member is Undefined && given[1] is { } absent ? absent.Value : member)], onlyOnce: true);
    }

    private static TemplateIterable Select(object? value, Arguments arguments, bool byAttribute, bool keep)
    {
        if (arguments.Named.Count > 0) throw new TemplateException($"{arguments.Function} with named arguments is not supported");
        if (byAttribute && arguments.Positional.Count == 0) throw new TemplateException($"{arguments.Function} needs an attribute's name");
        var attribute = byAttribute ? new Arguments.Given(arguments.Positional[0]) : (Arguments.Given?)null;
        var rest = arguments.Positional.Skip(byAttribute ? 1 : 0).ToArray();
        var test = rest.Length == 0 ? null : rest[0] as string ?? throw new TemplateException($"{arguments.Function} needs a test's name");
        var operands = new Arguments(test ?? "", [.. rest.Skip(1)], arguments.Named);
        return new TemplateIterable([.. Operators.Items(value).Where(item =>
        {
            var tested = Of(item, attribute);
            return (test is null ? Operators.IsTrue(tested) : Tests.Apply(test, tested, operands)) == keep;
        })], onlyOnce: true);
    }

    private static string FilterName(Arguments arguments) => arguments.Positional[0] as string ?? throw new TemplateException("map needs a filter's name");

    /// <summary>An item's member by a dotted path, or the item itself where no attribute is asked for.</summary>
    private static object? Of(object? item, Arguments.Given? attribute)
    {
        if (attribute is not { } given || given.Value is null) return item;
        if (given.Value is long index) return Members.Item(item, index);
        var path = given.Value as string ?? throw new TemplateException("an attribute's name must be a string");
        foreach (var name in path.Split('.')) item = Members.Item(item, long.TryParse(name, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var place) ? place : name);
        return item;
    }

    /// <summary>A sort key: strings without regard to case, unless asked otherwise.</summary>
    private static object? Folded(object? key, Arguments.Given? caseSensitive) =>
        key is string text && !(caseSensitive is { } flag && Operators.IsTrue(flag.Value)) ? PythonText.Lower(text) : key;
}
