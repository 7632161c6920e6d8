using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Python's operators on template values. What Python would refuse, or could do and this code cannot, is an error.</summary>
internal static class Operators
{
    /// <summary>The longest text or list that an operator may make.</summary>
    private const int Largest = 10_000_000;

    /// <summary>Python's truth of a value.</summary>
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool truth => truth,
        long whole => whole != 0,
        double number => number != 0,
        string text => text.Length > 0,
        MarkedText marked => marked.Text.Length > 0,
        TemplateList list => list.Items.Count > 0,
        TemplateMapping mapping => mapping.Entries.Count > 0,
        TemplateIterable { HasLength: true } view => view.Take().Count > 0,
        _ => true,
    };

    /// <summary>Python's ==.</summary>
    public static bool AreEqual(object? left, object? right)
    {
        StackGuard.Check();
        if (AsNumber(left) is { } a && AsNumber(right) is { } b) return left is not double && right is not double ? AsWhole(left) == AsWhole(right) : a == b;
        return (left, right) switch
        {
            (null, null) or (Undefined, Undefined) => true,
            (string first, string second) => string.Equals(first, second, StringComparison.Ordinal),
            (TemplateList first, TemplateList second) => first.IsTuple == second.IsTuple && first.Items.Count == second.Items.Count && first.Items.Zip(second.Items).All(pair => AreEqual(pair.First, pair.Second)),
            (TemplateMapping first, TemplateMapping second) => first.Entries.Count == second.Entries.Count
                && first.Entries.All(entry => second.Entries.TryGetValue(entry.Key, out var other) && AreEqual(entry.Value, other)),
            (MarkedText, _) or (_, MarkedText) => throw Unsupported("==", left, right),
            _ => ReferenceEquals(left, right) && left is not null,
        };
    }

    /// <summary>One comparison.</summary>
    public static bool Compare(string operation, object? left, object? right) => operation switch
    {
        "==" => AreEqual(left, right),
        "!=" => !AreEqual(left, right),
        "in" => Contains(right, left),
        "not in" => !Contains(right, left),
        _ => Ordered(operation, left, right),
    };

    /// <summary>Python's order of two numbers or two strings.</summary>
    public static int Order(object? left, object? right)
    {
        if (left is string first && right is string second) return PythonText.Compare(first, second);
        if (left is long or bool && right is long or bool) return AsWhole(left).CompareTo(AsWhole(right));
        if (AsNumber(left) is { } a && AsNumber(right) is { } b && !double.IsNaN(a) && !double.IsNaN(b)) return a.CompareTo(b);
        throw Unsupported("comparison", left, right);
    }

    /// <summary>Python's <c>needle in haystack</c>.</summary>
    public static bool Contains(object? haystack, object? needle) => haystack switch
    {
        string text => needle is string part ? text.Contains(part, StringComparison.Ordinal) : throw Unsupported("in", needle, haystack),
        TemplateMapping when needle is TemplateList { IsTuple: false } or TemplateMapping => throw Unsupported("in", needle, haystack),
        TemplateMapping mapping => needle is string key && mapping.Entries.ContainsKey(key),
        Undefined => false,
        TemplateList or TemplateIterable => Items(haystack).Any(item => AreEqual(item, needle)),
        _ => throw Unsupported("in", needle, haystack),
    };

    /// <summary>One arithmetic operation or concatenation.</summary>
    public static object? Apply(string operation, object? left, object? right)
    {
        if (operation == "~") return Text(left, right) + Text(right, left);
        if (operation == "+" && left is string first && right is string second) return Sized(first + second);
        if (operation == "+" && left is TemplateList a && right is TemplateList b && a.IsTuple == b.IsTuple) return new TemplateList(Sized([.. a.Items, .. b.Items]), a.IsTuple);
        if (operation == "*" && Repeat(left, right) is { } repeated) return repeated;
        if (AsNumber(left) is not { } x || AsNumber(right) is not { } y) throw Unsupported(operation, left, right);
        try
        {
            return left is double || right is double ? (object)OnFloats(operation, x, y) : OnWholes(operation, AsWhole(left), AsWhole(right));
        }
        catch (OverflowException)
        {
            throw new TemplateException($"the result of {operation} is too large a number");
        }
    }

    /// <summary><c>-value</c> or <c>+value</c></summary>
    public static object? Signed(string operation, object? value) => value switch
    {
        bool or long => Apply(operation, 0L, value),
        double number => operation == "-" ? -number : number,
        _ => throw new TemplateException($"{operation} of a {PythonText.Kind(value)}"),
    };

    /// <summary>What a loop over a value sees.</summary>
    public static IReadOnlyList<object?> Items(object? value) => value switch
    {
        TemplateList list => list.Items,
        string text => PythonText.CodePoints(text),
        TemplateMapping mapping => [.. mapping.Entries.Keys],
        TemplateIterable iterable => iterable.Take(),
        Undefined => [],
        _ => throw new TemplateException($"a {PythonText.Kind(value)} cannot be looped over"),
    };

    /// <summary>Python's len.</summary>
    public static long Length(object? value) => value switch
    {
        string text => PythonText.Length(text),
        MarkedText marked => PythonText.Length(marked.Text),
        TemplateMapping mapping => mapping.Entries.Count,
        TemplateList or Undefined or TemplateIterable { HasLength: true } => Items(value).Count,
        _ => throw new TemplateException($"a {PythonText.Kind(value)} has no length"),
    };

    /// <summary>The item at an index or under a key, or null when there is none.</summary>
    public static Arguments.Given? Item(object? target, object? index)
    {
        switch (target)
        {
            case TemplateMapping mapping:
                return index is string key && mapping.Entries.TryGetValue(key, out var value) ? new Arguments.Given(value) : null;
            case TemplateList or string when index is long or bool:
                var items = Items(target);
                var at = AsWhole(index);
                if (at < 0) at += items.Count;
                return at >= 0 && at < items.Count ? new Arguments.Given(items[(int)at]) : null;
            case Undefined undefined:
                throw new TemplateException($"'{undefined.Name}' is undefined");
            default:
                return null;
        }
    }

    /// <summary><c>target[start:stop:step]</c>; null stands for a bound that is not given.</summary>
    public static object? Slice(object? target, object? start, object? stop, object? step)
    {
        if (target is Undefined undefined) throw new TemplateException($"'{undefined.Name}' is undefined");
        if (target is not (string or TemplateList)) throw new TemplateException($"a {PythonText.Kind(target)} cannot be sliced");
        var items = Items(target);
        var by = Bound(step) ?? 1;
        if (by == 0) throw new TemplateException("the step of a slice is 0");
        var (low, high) = by > 0 ? (0L, (long)items.Count) : (-1L, items.Count - 1L);
        var from = Clamped(Bound(start), by > 0 ? low : high);
        var to = Clamped(Bound(stop), by > 0 ? high : low);
        var taken = new List<object?>();
        // A step beyond the length is as good as one of the length; so nothing overflows.
        by = Math.Clamp(by, -items.Count - 1L, items.Count + 1L);
        for (var i = from; by > 0 ? i < to : i > to; i += by) taken.Add(items[(int)i]);
        return target is TemplateList list ? new TemplateList(taken, list.IsTuple) : string.Concat(taken);

        long Clamped(long? bound, long absent) => bound is not { } value ? absent : Math.Clamp(value < 0 ? Math.Max(value + items.Count, low) : value, low, high);
    }

    /// <summary>A number or truth value as a double; null for anything else.</summary>
    public static double? AsNumber(object? value) => value switch { bool truth => truth ? 1 : 0, long whole => whole, double number => number, _ => null };

    /// <summary>A whole number or truth value.</summary>
    public static long AsWhole(object? value) => value switch
    {
        bool truth => truth ? 1 : 0,
        long whole => whole,
        _ => throw new TemplateException($"a {PythonText.Kind(value)} where a whole number is needed"),
    };

    private static long? Bound(object? value) => value is null ? null : AsWhole(value);

    private static bool Ordered(string operation, object? left, object? right)
    {
        if (left is double.NaN || right is double.NaN) return false;
        var order = Order(left, right);
        return operation switch { "<" => order < 0, "<=" => order <= 0, ">" => order > 0, _ => order >= 0 };
    }

    private static string Text(object? value, object? other) =>
        value is MarkedText || other is MarkedText ? throw Unsupported("~", value, other) : Sized(PythonText.Str(value));

    private static object? Repeat(object? left, object? right)
    {
        if (left is long or bool && right is string or TemplateList) (left, right) = (right, left);
        if (right is not (long or bool) || left is not (string or TemplateList)) return null;
        var count = Math.Max(0, AsWhole(right));
        var length = left is string text ? text.Length : ((TemplateList)left).Items.Count;
        if (length > 0 && count > Largest / length) throw new TemplateException("the result of * is too long");
        if (length == 0) count = 0;
        return left is TemplateList list
            ? new TemplateList([.. Enumerable.Repeat(list.Items, (int)count).SelectMany(items => items)], list.IsTuple)
            : new StringBuilder().Insert(0, (string)left, (int)count).ToString();
    }

    private static object OnWholes(string operation, long left, long right)
    {
        switch (operation)
        {
            case "+": return checked(left + right);
            case "-": return checked(left - right);
            case "*": return checked(left * right);
            case "/": return right == 0 ? throw DividedByZero() : (double)left / right;
            case "//":
                if (right == 0) throw DividedByZero();
                var quotient = checked(left / right);
                return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
            case "%":
                if (right == 0) throw DividedByZero();
                var rest = right == -1 ? 0 : left % right;
                return rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest;
            default:
                return right < 0 ? (object)OnFloats(operation, left, right) : WholePower(left, right);
        }
    }

    private static double OnFloats(string operation, double left, double right)
    {
        if (right == 0 && (operation is "/" or "//" or "%")) throw DividedByZero();
        return operation switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => Math.Floor(left / right),
            "%" => Modulo(left, right),
            _ => left == 0 && right < 0 ? throw DividedByZero() : left < 0 && right != Math.Floor(right) ? throw new TemplateException("the root of a negative number") : Math.Pow(left, right),
        };
    }

    /// <summary>Python's %: the result has the divisor's sign, also if it is 0.</summary>
    private static double Modulo(double left, double right)
    {
        var rest = left % right;
        if (rest == 0) return Math.CopySign(0, right);
        return (rest < 0) != (right < 0) ? rest + right : rest;
    }

    private static long WholePower(long value, long exponent)
    {
        if (value is 0 or 1 or -1) return exponent == 0 ? 1 : value == -1 && exponent % 2 == 0 ? 1 : value;
        var result = 1L;
        for (; exponent > 0; exponent--) result = checked(result * value);
        return result;
    }

    private static TemplateException DividedByZero() => new("a division by 0");

    private static string Sized(string text) => text.Length <= Largest ? text : throw new TemplateException("a text that is too long");

    private static IReadOnlyList<object?> Sized(IReadOnlyList<object?> items) => items.Count <= Largest ? items : throw new TemplateException("a list that is too long");

    private static TemplateException Unsupported(string operation, object? left, object? right) =>
        new((left as Undefined ?? right as Undefined) is { } undefined
            ? $"'{undefined.Name}' is undefined"
            : $"{operation} of a {PythonText.Kind(left)} and a {PythonText.Kind(right)} is not supported");
}
