// a.name and a[index]: Python's attributes first for the dot, items first for the brackets, as Jinja2 does.
namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Members of values.</summary>
internal static class Members
{
    // Attributes that Python's types have and this code has not: a template that uses one must not silently get nothing.
    private static readonly HashSet<string> OtherMappingMethods = new(StringComparer.Ordinal) { "clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update" };
    private static readonly HashSet<string> OtherListMethods = new(StringComparer.Ordinal) { "append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort" };

    /// <summary><c>target.name</c>; undefined where there is none.</summary>
    public static object? Attribute(object? target, string name)
    {
        if (target is Undefined undefined) throw new TemplateException($"'{undefined.Name}' is undefined");
        if (Method(target, name) is { } method) return method;
        return target switch
        {
            LoopState loop => loop.Member(name),
            TemplateNamespace space => space.Members.TryGetValue(name, out var member) ? member : new Undefined(name),
            _ => Operators.Item(target, name) is { } item ? item.Value : new Undefined(name),
        };
    }

    /// <summary><c>target[index]</c>; undefined where there is none.</summary>
    public static object? Item(object? target, object? index)
    {
        if (Operators.Item(target, index) is { } item) return item.Value;
        if (target is TemplateIterable) throw new TemplateException($"a {PythonText.Kind(target)} has no items by index");
        return index is string name ? Method(target, name) ?? (object)new Undefined(name) : new Undefined(PythonText.Str(index));
    }

    private static TemplateFunction? Method(object? target, string name)
    {
        if (name.StartsWith("__", StringComparison.Ordinal)) throw new TemplateException($"the member {name} is not supported");
        switch (target)
        {
            case string text:
                return StringMethods.Find(text, name);
            case TemplateMapping mapping:
                if (OtherMappingMethods.Contains(name)) throw new TemplateException($"the method {name} of a mapping is not supported");
                return MappingMethod(mapping, name);
            case TemplateList list:
                if (OtherListMethods.Contains(name)) throw new TemplateException($"the method {name} of a list is not supported");
                return ListMethod(list, name);
            case long or double or bool or MarkedText or TemplateFunction:
                throw new TemplateException($"the member {name} of a {PythonText.Kind(target)} is not supported");
            default:
                return null;
        }
    }

    private static TemplateFunction? MappingMethod(TemplateMapping mapping, string name) => name switch
    {
        "items" => View(name, () => mapping.Entries.Select(object? (entry) => new TemplateList([entry.Key, entry.Value], IsTuple: true))),
        "keys" => View(name, () => mapping.Entries.Keys),
        "values" => View(name, () => mapping.Entries.Values),
        "get" => new TemplateFunction(name, arguments =>
        {
            var given = arguments.Bind("key", "default");
            return Operators.Item(mapping, given[0] is { } key ? key.Value : throw new TemplateException("get needs a key")) is { } item ? item.Value : given[1]?.Value;
        }),
        _ => null,
    };

    private static TemplateFunction? ListMethod(TemplateList list, string name) => name switch
    {
        "count" => new TemplateFunction(name, arguments => (long)list.Items.Count(item => Operators.AreEqual(item, arguments.Single("value")))),
        "index" => new TemplateFunction(name, arguments =>
        {
            for (var i = 0; i < list.Items.Count; i++)
                if (Operators.AreEqual(list.Items[i], arguments.Single("value"))) return (long)i;
            throw new TemplateException("index: the value is not in the list");
        }),
        _ => null,
    };

    private static TemplateFunction View(string name, Func<IEnumerable<object?>> items) => new(name, arguments =>
    {
        arguments.None();
        return new TemplateIterable([.. items()], onlyOnce: false);
    });
}
