namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The variable <c>loop</c> inside a for.</summary>
internal sealed class LoopState(IReadOnlyList<object?> items)
{
    private object? _lastChecked = new Undefined("loop.changed");

    /// <summary>Which item it is, from 0.</summary>
    public int Index { get; set; }

    /// <summary>A member of loop.</summary>
    public object? Member(string name) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "revindex" => (long)(items.Count - Index),
        "revindex0" => items.Count - Index - 1L,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        "previtem" => Index > 0 ? items[Index - 1] : new Undefined("loop.previtem"),
        "nextitem" => Index < items.Count - 1 ? items[Index + 1] : new Undefined("loop.nextitem"),
        "cycle" => new TemplateFunction("loop.cycle", arguments => arguments.Positional.Count > 0 ? arguments.Positional[Index % arguments.Positional.Count] : throw new TemplateException("loop.cycle needs an argument")),
        "changed" => new TemplateFunction("loop.changed", arguments => Changed(arguments)),
        _ => throw new TemplateException($"loop.{name} is not supported"),
    };

    private bool Changed(Arguments arguments)
    {
        var values = new TemplateList([.. arguments.Positional], IsTuple: true);
        var changed = !Operators.AreEqual(_lastChecked, values);
        _lastChecked = values;
        return changed;
    }
}
