namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The variables of one block of a template. Setting changes this block alone; reading looks outwards.</summary>
internal sealed class Scope(Scope? outer)
{
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);

    /// <summary>Gives a variable a value in this block.</summary>
    public void Set(string name, object? value) => _variables[name] = value;

    /// <summary>A variable's value, or an undefined one.</summary>
    public object? Get(string name)
    {
        if (_variables.TryGetValue(name, out var value)) return value;
        return outer is null ? new Undefined(name) : outer.Get(name);
    }
}
