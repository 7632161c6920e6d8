// Reads one expression, in LaTeX or as plain text, and evaluates it on the way:
//   sum      product (+|-) product ...
//   product  power (*|/|\cdot|\times|\div| nothing) power ...
//   power    atom ! ^ exponent
//   atom     number, variable, (sum), {sum}, {sum \over sum}, \frac \sqrt \log \ln \binom \pi
// Nothing is ever executed; what is not in this grammar is no value.
using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>Evaluates an expression exactly. Use <see cref="Evaluate"/>.</summary>
internal sealed partial class ExpressionReader
{
    private const int DeepestNesting = 40;
    private const int LargestDecimalExponent = 2_000;
    private const string Pi = "\\pi", Euler = "\\e";

    private static readonly HashSet<string> Greek = new(StringComparer.Ordinal)
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu", "rho", "sigma", "tau", "phi", "varphi", "omega",
    };

    private readonly string _text;
    private readonly int _depth;
    private readonly HashSet<string> _variables;
    private int _at;

    private ExpressionReader(string text, int depth, HashSet<string> variables)
    {
        if (depth > DeepestNesting) throw new NotEvaluatedException("too deep nesting");
        (_text, _depth, _variables) = (text, depth, variables);
    }

    /// <summary>The value of an expression and the names of its variables.</summary>
    /// <exception cref="NotEvaluatedException">It is no expression, or has no exact value here.</exception>
    public static (AlgebraicValue Value, IReadOnlySet<string> Variables) Evaluate(string text)
    {
        var variables = new HashSet<string>(StringComparer.Ordinal);
        return (Whole(text, 0, variables), variables);
    }

    private static AlgebraicValue Whole(string text, int depth, HashSet<string> variables)
    {
        var reader = new ExpressionReader(text, depth, variables);
        var value = reader.Sum();
        if (reader.TakeCommand("over")) value /= reader.Sum();
        return reader.Next == '\0' ? value : throw new NotEvaluatedException($"'{reader._text[reader._at]}' where nothing was expected");
    }

    private char Next
    {
        get
        {
            while (_at < _text.Length && _text[_at] == ' ') _at++;
            return _at < _text.Length ? _text[_at] : '\0';
        }
    }

    private AlgebraicValue Sum()
    {
        var value = Product();
        while (Next is '+' or '-') value += _text[_at++] == '+' ? Product() : -Product();
        return value;
    }

    private AlgebraicValue Product()
    {
        var negative = false;
        while (Next is '+' or '-') negative ^= _text[_at++] == '-';
        var value = Power();
        while (true)
        {
            if (TakeOperator("*") || TakeCommand("cdot") || TakeCommand("times")) value *= SignedPower();
            else if (TakeOperator("/") || TakeCommand("div")) value /= SignedPower();
            else if (BeginsFactor()) value *= Power();
            else return negative ? -value : value;
        }
    }

    private AlgebraicValue SignedPower()
    {
        var negative = false;
        while (Next is '+' or '-') negative ^= _text[_at++] == '-';
        return negative ? -Power() : Power();
    }

    /// <summary>Whether a factor follows without a sign. Two numbers side by side are no product.</summary>
    private bool BeginsFactor() => Next is '(' or '{' || char.IsAsciiLetter(Next) || (char.IsAsciiDigit(Next) && !IsAfterNumber()) || (Next == '\\' && CommandAt(_at) is not ("over" or "cdot" or "times" or "div" or ""));

    private bool IsAfterNumber()
    {
        var before = _text.AsSpan(0, _at).TrimEnd(' ');
        return before.Length > 0 && (char.IsAsciiDigit(before[^1]) || before[^1] == '.');
    }

    private AlgebraicValue Power()
    {
        var value = Atom();
        while (Next == '!')
        {
            _at++;
            value = value.Factorial();
        }
        if (Next != '^') return value;
        _at++;
        return value.Power(Exponent());
    }

    private AlgebraicValue Exponent()
    {
        // 2^10 and 2^-3 as people type them; in LaTeX they would need braces.
        if (Next is '{' or '\\' or '(') return Argument();
        var negative = Next == '-';
        if (negative) _at++;
        var value = char.IsAsciiDigit(Next) ? Number(out _) : Argument();
        return negative ? -value : value;
    }

    private AlgebraicValue Atom()
    {
        if (Next == '(') return Inside(Group('(', ')'));
        if (Next == '{') return Inside(Group('{', '}'));
        if (char.IsAsciiDigit(Next) || Next == '.') return NumberOrMixedNumber();
        if (Next == '\\') return Command();
        if (char.IsAsciiLetter(Next)) return Letters();
        throw new NotEvaluatedException("a value is missing");
    }

    private AlgebraicValue NumberOrMixedNumber()
    {
        var value = Number(out var isWhole);
        if (!isWhole || Next != '\\' || !IsFraction(CommandAt(_at))) return value;
        // 1\frac{1}{2} is one and a half; 2\frac{x}{3} and 2.5\frac{1}{2} are products.
        var before = _at;
        _at += CommandAt(_at).Length + 1;
        var (above, below) = (ArgumentText(), ArgumentText());
        if (above.All(char.IsAsciiDigit) && below.All(char.IsAsciiDigit)) return value + Inside(above) / Inside(below);
        _at = before;
        return value;
    }

    private AlgebraicValue Number(out bool isWhole)
    {
        var match = NumberText().Match(_text, _at);
        if (!match.Success) throw new NotEvaluatedException("a broken number");
        _at += match.Length;
        var digits = match.Groups["whole"].Value.Replace(",", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal);
        var decimals = match.Groups["decimals"].Value;
        isWhole = !match.Value.Contains('.', StringComparison.Ordinal) && !match.Groups["exponent"].Success;
        var exponent = match.Groups["exponent"].Success ? DecimalExponent(match.Groups["exponent"].ValueSpan) : 0;
        return AlgebraicValue.Of((Rational)BigInteger.Parse(digits + decimals, CultureInfo.InvariantCulture) * ((Rational)10).Power(exponent - decimals.Length));
    }

    private static int DecimalExponent(ReadOnlySpan<char> digits) =>
        int.TryParse(digits, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var exponent) && Math.Abs(exponent) <= LargestDecimalExponent
            ? exponent
            : throw new NotEvaluatedException("an exponent that is too large");

    private AlgebraicValue Letters()
    {
        if (_text.AsSpan(_at).StartsWith("pi"))
        {
            _at += 2;
            return AlgebraicValue.OfSymbol(Pi);
        }
        if (_text.AsSpan(_at).StartsWith("sqrt"))
        {
            _at += 4;
            return Argument().Power(AlgebraicValue.Of(new Rational(1, 2)));
        }
        var letter = _text[_at++];
        return letter == 'e' ? AlgebraicValue.OfSymbol(Euler) : VariableNamed(letter.ToString());
    }

    private AlgebraicValue VariableNamed(string name)
    {
        if (Next == '_')
        {
            _at++;
            name += "_" + ArgumentText();
        }
        _variables.Add(name);
        return AlgebraicValue.OfSymbol(name);
    }

    private AlgebraicValue Command()
    {
        var name = CommandAt(_at);
        _at += name.Length + 1;
        if (IsFraction(name)) return Argument() / Argument();
        switch (name)
        {
            case "pi": return AlgebraicValue.OfSymbol(Pi);
            case "sqrt":
                var degree = Next == '[' ? Inside(Group('[', ']')) : AlgebraicValue.Of(2);
                return Argument().Power(AlgebraicValue.Of(1) / degree);
            case "log":
                var ofBase = AlgebraicValue.Of(10);
                if (Next == '_')
                {
                    _at++;
                    ofBase = Argument();
                }
                return Power().Logarithm(ofBase);
            case "ln": return Power().Logarithm(AlgebraicValue.OfSymbol(Euler));
            case "binom": return Binomial(Argument(), Argument());
            default: return Greek.Contains(name) ? VariableNamed(name) : throw new NotEvaluatedException($"the command \\{name}");
        }
    }

    private static AlgebraicValue Binomial(AlgebraicValue n, AlgebraicValue k) => n.Factorial() / (k.Factorial() * (n + -k).Factorial());

    private static bool IsFraction(string command) => command is "frac" or "dfrac" or "tfrac" or "cfrac";

    private AlgebraicValue Argument() => Inside(ArgumentText());

    private AlgebraicValue Inside(string part) => Whole(part, _depth + 1, _variables);

    /// <summary>What a command applies to: a group, a command with its own arguments, or one character.</summary>
    private string ArgumentText()
    {
        switch (Next)
        {
            case '{': return Group('{', '}');
            case '(': return Group('(', ')');
            case '\0': throw new NotEvaluatedException("an argument is missing");
            case '\\':
                var start = _at;
                Command();
                return _text[start.._at];
            default: return _text[_at++].ToString();
        }
    }

    /// <summary>The text between a bracket and the one that closes it.</summary>
    private string Group(char open, char close)
    {
        var start = ++_at;
        for (var nesting = 1; _at < _text.Length; _at++)
        {
            if (_text[_at] == open) nesting++;
            else if (_text[_at] == close && --nesting == 0) return _text[start.._at++];
        }
        throw new NotEvaluatedException($"{open} is never closed");
    }

    private bool TakeOperator(string symbol)
    {
        if (Next != symbol[0]) return false;
        _at++;
        return true;
    }

    private bool TakeCommand(string name)
    {
        if (Next != '\\' || CommandAt(_at) != name) return false;
        _at += name.Length + 1;
        return true;
    }

    private string CommandAt(int backslash)
    {
        var end = backslash + 1;
        while (end < _text.Length && char.IsAsciiLetter(_text[end])) end++;
        return _text[(backslash + 1)..end];
    }

    // Thousands in groups of three by comma or blank; 1.2e3, 1.2E+03.
    [GeneratedRegex(@"\G(?<whole>[0-9]{1,3}(,[0-9]{3})+(?![0-9])|[0-9]{1,3}( [0-9]{3})+(?![0-9])|[0-9]+|(?=\.[0-9]))(\.(?<decimals>[0-9]*))?([eE](?<exponent>[-+]?[0-9]+))?", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex NumberText();
}
