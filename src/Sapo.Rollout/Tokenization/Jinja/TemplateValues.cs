// The values of a template, besides null (None), bool, long, double and string.
namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>What a name without value gives: prints as nothing, is false, and most operations on it are errors.</summary>
/// <param name="Name">What was looked for; named in errors.</param>
internal sealed record Undefined(string Name);

/// <summary>A list or a tuple.</summary>
/// <param name="Items">The items.</param>
/// <param name="IsTuple">Whether it is a tuple, which prints with parentheses and equals no list.</param>
internal sealed record TemplateList(IReadOnlyList<object?> Items, bool IsTuple = false);

/// <summary>A mapping with string keys in insertion order.</summary>
/// <param name="Entries">The entries.</param>
internal sealed record TemplateMapping(OrderedDictionary<string, object?> Entries);

/// <summary>
/// Something to loop over that is no list: a range, the view of a mapping (as often as wanted), or what map and
/// select give (once). It cannot be printed or indexed.
/// </summary>
internal sealed class TemplateIterable(IReadOnlyList<object?> items, bool onlyOnce)
{
    private bool _used;

    /// <summary>Whether it has a length: a generator has none.</summary>
    public bool HasLength => !onlyOnce;

    /// <summary>The items; of a generator nothing the second time, as in Python.</summary>
    public IReadOnlyList<object?> Take()
    {
        if (_used && onlyOnce) return [];
        _used = true;
        return items;
    }
}

/// <summary><c>namespace(...)</c>: the only thing whose members can be set.</summary>
/// <param name="Members">The members.</param>
internal sealed record TemplateNamespace(Dictionary<string, object?> Members);

/// <summary>Text marked as safe for HTML by <c>escape</c> or <c>safe</c>. It can be printed; combining it with other text would escape that, and is refused.</summary>
/// <param name="Text">The text.</param>
internal sealed record MarkedText(string Text);

/// <summary>Something that can be called.</summary>
/// <param name="Name">Named in errors.</param>
/// <param name="Invoke">What a call gives.</param>
internal sealed record TemplateFunction(string Name, Func<Arguments, object?> Invoke);

/// <summary>The values a function, filter or test is called with.</summary>
/// <param name="Function">Who is called; named in errors.</param>
/// <param name="Positional">Values without a name.</param>
/// <param name="Named">Values with a name.</param>
internal sealed record Arguments(string Function, IReadOnlyList<object?> Positional, IReadOnlyDictionary<string, object?> Named)
{
    /// <summary>The values for a list of parameters; null stands for one that was not given (None is given as <see cref="Given.Value"/> null).</summary>
    public Given?[] Bind(params string[] parameters)
    {
        var bound = new Given?[parameters.Length];
        if (Positional.Count > parameters.Length) throw new TemplateException($"{Function} takes {parameters.Length} arguments at most, found {Positional.Count}");
        for (var i = 0; i < Positional.Count; i++) bound[i] = new Given(Positional[i]);
        foreach (var (name, value) in Named)
        {
            var index = Array.IndexOf(parameters, name);
            if (index < 0) throw new TemplateException($"{Function} has no argument {name} that is supported");
            if (bound[index] is not null) throw new TemplateException($"{Function} is given {name} twice");
            bound[index] = new Given(value);
        }
        return bound;
    }

    /// <summary>One required value.</summary>
    public object? Single(string parameter) => Bind(parameter)[0] is { } given ? given.Value : throw new TemplateException($"{Function} needs an argument");

    /// <summary>Refuses any argument.</summary>
    public void None() => Bind();

    /// <summary>A value that was given.</summary>
    internal readonly record struct Given(object? Value);
}
