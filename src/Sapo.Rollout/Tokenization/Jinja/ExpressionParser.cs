// Expressions, by Jinja2's precedence, loosest first:
//   a if b else c | or | and | not | comparisons, in | + - | ~ | * / // % | ** | unary - + | . [] () | filter, is test
using System.Globalization;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Parses expressions from a reader.</summary>
internal sealed class ExpressionParser(TokenReader reader)
{
    private const int DeepestNesting = 100;
    private static readonly string[] ComparisonOperators = ["==", "!=", "<", "<=", ">", ">="];
    private int _depth;

    /// <summary>An expression; several with commas between make a tuple.</summary>
    /// <param name="withConditional">Whether <c>a if b</c> may occur (not in the iterable of a for, where <c>if</c> filters).</param>
    public Expression Tuple(bool withConditional = true)
    {
        var line = reader.Current.Line;
        var first = Item();
        if (!reader.IsOperator(",")) return first;
        List<Expression> items = [first];
        while (reader.TakeOperator(",") && !AtEnd()) items.Add(Item());
        return new ListLiteral(items, IsTuple: true, line);

        Expression Item() => withConditional ? Parse() : Or();
        bool AtEnd() => reader.Current.Kind is TokenKind.BlockEnd or TokenKind.OutputEnd || reader.IsOperator(")");
    }

    /// <summary>One expression.</summary>
    public Expression Parse()
    {
        if (++_depth > DeepestNesting) throw new TemplateException($"more than {DeepestNesting} expressions inside each other", reader.Current.Line);
        var value = Or();
        while (reader.IsName("if"))
        {
            var line = reader.Take().Line;
            var test = Or();
            var otherwise = reader.TakeName("else") ? Parse() : null;
            value = new Conditional(test, value, otherwise, line);
        }
        _depth--;
        return value;
    }

    /// <summary>Filters behind a value, or at the head of a filter block when there is none.</summary>
    public Expression Filters(Expression? input)
    {
        do
        {
            var name = reader.Expect(TokenKind.Name, "the name of a filter");
            input = new FilterCall(input, name.Text, reader.IsOperator("(") ? Arguments() : ArgumentList.None, name.Line);
        }
        while (reader.TakeOperator("|"));
        return input;
    }

    private Expression Or()
    {
        var left = And();
        while (reader.IsName("or")) left = new Logical(IsAnd: false, left, Right(And), reader.Current.Line);
        return left;
    }

    private Expression And()
    {
        var left = Not();
        while (reader.IsName("and")) left = new Logical(IsAnd: true, left, Right(Not), reader.Current.Line);
        return left;
    }

    /// <summary>Takes the operator and parses what is on its right.</summary>
    private Expression Right(Func<Expression> operand)
    {
        reader.Take();
        return operand();
    }

    private Expression Not()
    {
        var negations = 0;
        var line = reader.Current.Line;
        while (reader.TakeName("not")) negations++;
        var value = Compare();
        if (negations == 0) return value;
        // Two negations are no no-op: they make a truth value.
        value = new Negation(value, line);
        return negations % 2 == 1 ? value : new Negation(value, line);
    }

    private Expression Compare()
    {
        var line = reader.Current.Line;
        var first = Sum();
        List<(string, Expression)> rest = [];
        while (true)
        {
            if (reader.Current.Kind == TokenKind.Operator && ComparisonOperators.Contains(reader.Current.Text, StringComparer.Ordinal))
            {
                rest.Add((reader.Take().Text, Sum()));
            }
            else if (reader.TakeName("in"))
            {
                rest.Add(("in", Sum()));
            }
            else if (reader.IsName("not") && reader.Following is { Kind: TokenKind.Name, Text: "in" })
            {
                reader.Take();
                reader.Take();
                rest.Add(("not in", Sum()));
            }
            else
            {
                return rest.Count == 0 ? first : new Comparison(first, rest, line);
            }
        }
    }

    private Expression Sum() => LeftAssociative(Concatenation, "+", "-");

    private Expression Concatenation() => LeftAssociative(Product, "~");

    private Expression Product() => LeftAssociative(Power, "*", "/", "//", "%");

    private Expression Power() => LeftAssociative(() => Unary(withFilters: true), "**");

    private Expression LeftAssociative(Func<Expression> operand, params string[] operators)
    {
        var left = operand();
        while (reader.Current.Kind == TokenKind.Operator && operators.Contains(reader.Current.Text, StringComparer.Ordinal))
        {
            var token = reader.Take();
            left = new Binary(token.Text, left, operand(), token.Line);
        }
        return left;
    }

    private Expression Unary(bool withFilters)
    {
        if (++_depth > DeepestNesting) throw new TemplateException($"more than {DeepestNesting} expressions inside each other", reader.Current.Line);
        Expression value;
        if (reader.IsOperator("-") || reader.IsOperator("+"))
        {
            var token = reader.Take();
            value = new Signed(token.Text, Unary(withFilters: false), token.Line);
        }
        else
        {
            value = Postfix(Primary());
        }
        _depth--;
        return withFilters ? FiltersAndTests(value) : value;
    }

    private Expression Primary()
    {
        var token = reader.Take();
        switch (token.Kind)
        {
            case TokenKind.Name:
                return token.Text switch
                {
                    "true" or "True" => new Constant(true, token.Line),
                    "false" or "False" => new Constant(false, token.Line),
                    "none" or "None" => new Constant(null, token.Line),
                    _ => new Variable(token.Text, token.Line),
                };
            case TokenKind.String:
                var text = token.Text;
                while (reader.Current.Kind == TokenKind.String) text += reader.Take().Text;
                return new Constant(text, token.Line);
            case TokenKind.Integer:
                return long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out var whole)
                    ? new Constant(whole, token.Line)
                    : throw new TemplateException($"the number {token.Text} is too large", token.Line);
            case TokenKind.Float:
                return new Constant(double.Parse(token.Text, NumberStyles.Float, CultureInfo.InvariantCulture), token.Line);
            case TokenKind.Operator when token.Text == "(": return Parenthesised(token.Line);
            case TokenKind.Operator when token.Text == "[": return List(token.Line);
            case TokenKind.Operator when token.Text == "{": return Mapping(token.Line);
            default:
                throw new TemplateException($"found {(token.Kind == TokenKind.End ? "the end of the template" : $"'{token.Text}'")} where a value was expected", token.Line);
        }
    }

    private Expression Parenthesised(int line)
    {
        if (reader.TakeOperator(")")) return new ListLiteral([], IsTuple: true, line);
        var value = Tuple();
        reader.ExpectOperator(")");
        return value;
    }

    private ListLiteral List(int line)
    {
        List<Expression> items = [];
        while (!reader.TakeOperator("]"))
        {
            if (items.Count > 0) reader.ExpectOperator(",");
            if (reader.TakeOperator("]")) break;
            items.Add(Parse());
        }
        return new ListLiteral(items, IsTuple: false, line);
    }

    private MappingLiteral Mapping(int line)
    {
        List<(Expression, Expression)> entries = [];
        while (!reader.TakeOperator("}"))
        {
            if (entries.Count > 0) reader.ExpectOperator(",");
            if (reader.TakeOperator("}")) break;
            var key = Parse();
            reader.ExpectOperator(":");
            entries.Add((key, Parse()));
        }
        return new MappingLiteral(entries, line);
    }

    private Expression Postfix(Expression value)
    {
        while (true)
        {
            var line = reader.Current.Line;
            if (reader.TakeOperator(".")) value = Member(value, line);
            else if (reader.TakeOperator("[")) value = Subscript(value, line);
            else if (reader.IsOperator("(")) value = new Call(value, Arguments(), line);
            else return value;
        }
    }

    private Expression Member(Expression value, int line)
    {
        var name = reader.Take();
        return name.Kind switch
        {
            TokenKind.Name => new AttributeAccess(value, name.Text, line),
            TokenKind.Integer => new ItemAccess(value, new Constant(long.Parse(name.Text, CultureInfo.InvariantCulture), line), line),
            _ => throw new TemplateException($"found '{name.Text}' where a member's name was expected", name.Line),
        };
    }

    private Expression Subscript(Expression value, int line)
    {
        var start = reader.IsOperator(":") ? null : Parse();
        if (start is not null && reader.TakeOperator("]")) return new ItemAccess(value, start, line);
        reader.ExpectOperator(":");
        var stop = reader.IsOperator(":") || reader.IsOperator("]") ? null : Parse();
        var step = reader.TakeOperator(":") && !reader.IsOperator("]") ? Parse() : null;
        reader.ExpectOperator("]");
        return new SliceAccess(value, start, stop, step, line);
    }

    private ArgumentList Arguments()
    {
        reader.ExpectOperator("(");
        List<Expression> positional = [];
        List<(string, Expression)> named = [];
        while (!reader.TakeOperator(")"))
        {
            if (positional.Count + named.Count > 0) reader.ExpectOperator(",");
            if (reader.TakeOperator(")")) break;
            if (reader.IsOperator("*") || reader.IsOperator("**")) throw new TemplateException("* and ** arguments are not supported", reader.Current.Line);
            if (reader.Current.Kind == TokenKind.Name && reader.Following is { Kind: TokenKind.Operator, Text: "=" })
            {
                var name = reader.Take().Text;
                reader.Take();
                named.Add((name, Parse()));
            }
            else
            {
                if (named.Count > 0) throw reader.Unexpected("an argument with a name");
                positional.Add(Parse());
            }
        }
        return new ArgumentList(positional, named);
    }

    private Expression FiltersAndTests(Expression value)
    {
        while (true)
        {
            if (reader.TakeOperator("|")) value = Filters(value);
            else if (reader.IsName("is")) value = Test(value);
            else if (reader.IsOperator("(")) value = new Call(value, Arguments(), reader.Current.Line);
            else return value;
        }
    }

    private Expression Test(Expression value)
    {
        var line = reader.Take().Line;
        var negated = reader.TakeName("not");
        var name = reader.Expect(TokenKind.Name, "the name of a test").Text;
        var arguments = ArgumentList.None;
        if (reader.IsOperator("(")) arguments = Arguments();
        else if (TestHasOperand()) arguments = new ArgumentList([Postfix(Primary())], []);
        Expression test = new TestCall(value, name, arguments, line);
        return negated ? new Negation(test, line) : test;
    }

    /// <summary>Whether a test's argument follows without parentheses, as in <c>x is divisibleby 3</c>.</summary>
    private bool TestHasOperand()
    {
        var next = reader.Current;
        if (next.Kind == TokenKind.Name && next.Text == "is") throw new TemplateException("tests cannot be chained", next.Line);
        return next.Kind switch
        {
            TokenKind.String or TokenKind.Integer or TokenKind.Float => true,
            TokenKind.Operator => next.Text is "[" or "{",
            TokenKind.Name => next.Text is not ("else" or "or" or "and" or "if" or "in" or "not"),
            _ => false,
        };
    }
}
