namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The tests of Jinja2: <c>value is name</c>.</summary>
internal static class Tests
{
    private static readonly Dictionary<string, Func<object?, Arguments, bool>> All = new(StringComparer.Ordinal)
    {
        ["defined"] = (value, arguments) => Plain(arguments, value is not Undefined),
        ["undefined"] = (value, arguments) => Plain(arguments, value is Undefined),
        ["none"] = (value, arguments) => Plain(arguments, value is null),
        ["string"] = (value, arguments) => Plain(arguments, value is string or MarkedText),
        ["number"] = (value, arguments) => Plain(arguments, value is long or double or bool),
        ["integer"] = (value, arguments) => Plain(arguments, value is long),
        ["float"] = (value, arguments) => Plain(arguments, value is double),
        ["boolean"] = (value, arguments) => Plain(arguments, value is bool),
        ["true"] = (value, arguments) => Plain(arguments, value is true),
        ["false"] = (value, arguments) => Plain(arguments, value is false),
        ["mapping"] = (value, arguments) => Plain(arguments, value is TemplateMapping),
        // An undefined value has Python's methods for all of these, so Jinja2 counts it as a sequence, iterable and callable.
        ["sequence"] = (value, arguments) => Plain(arguments, value is string or MarkedText or TemplateList or TemplateMapping or Undefined),
        ["iterable"] = (value, arguments) => Plain(arguments, value is string or MarkedText or TemplateList or TemplateMapping or TemplateIterable or Undefined),
        ["callable"] = (value, arguments) => Plain(arguments, value is TemplateFunction or Undefined),
        ["odd"] = (value, arguments) => Plain(arguments, Modulo(value, 2L) == 1),
        ["even"] = (value, arguments) => Plain(arguments, Modulo(value, 2L) == 0),
        ["divisibleby"] = (value, arguments) => Modulo(value, arguments.Single("num")) == 0,
        ["lower"] = (value, arguments) => Plain(arguments, IsCased(PythonText.Str(value), PythonText.Lower)),
        ["upper"] = (value, arguments) => Plain(arguments, IsCased(PythonText.Str(value), PythonText.Upper)),
        ["in"] = (value, arguments) => Operators.Contains(arguments.Single("seq"), value),
        ["eq"] = (value, arguments) => Operators.AreEqual(value, arguments.Single("other")),
        ["ne"] = (value, arguments) => !Operators.AreEqual(value, arguments.Single("other")),
        ["lt"] = (value, arguments) => Operators.Compare("<", value, arguments.Single("other")),
        ["le"] = (value, arguments) => Operators.Compare("<=", value, arguments.Single("other")),
        ["gt"] = (value, arguments) => Operators.Compare(">", value, arguments.Single("other")),
        ["ge"] = (value, arguments) => Operators.Compare(">=", value, arguments.Single("other")),
    };

    private static readonly Dictionary<string, string> Aliases = new(StringComparer.Ordinal)
    {
        ["equalto"] = "eq", ["=="] = "eq", ["!="] = "ne", ["lessthan"] = "lt", ["<"] = "lt", ["<="] = "le", ["greaterthan"] = "gt", [">"] = "gt", [">="] = "ge",
    };

    /// <summary>One test.</summary>
    public static bool Apply(string name, object? value, Arguments arguments) =>
        All.TryGetValue(Aliases.GetValueOrDefault(name, name), out var test) ? test(value, arguments) : throw new TemplateException($"the test '{name}' is not supported");

    private static bool Plain(Arguments arguments, bool result)
    {
        arguments.None();
        return result;
    }

    private static long Modulo(object? value, object? divisor) =>
        Operators.Apply("%", value, divisor) is long rest ? rest : throw new TemplateException("only whole numbers can be tested for divisibility");

    private static bool IsCased(string text, Func<string, string> cased) => cased(text) == text && text.EnumerateRunes().Any(rune => System.Text.Rune.IsLower(rune) || System.Text.Rune.IsUpper(rune));
}
