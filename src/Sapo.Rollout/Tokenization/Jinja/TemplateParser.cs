namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Parses a template's statements. Use <see cref="Parse"/>.</summary>
internal sealed class TemplateParser
{
    private const int DeepestNesting = 100;
    private readonly TokenReader reader;
    private readonly ExpressionParser expressions;
    private int depth;
    private int loops;

    private TemplateParser(string template)
    {
        reader = new TokenReader(TemplateLexer.Tokenize(template));
        expressions = new ExpressionParser(reader);
    }

    /// <summary>The statements of a template.</summary>
    /// <exception cref="TemplateException">The template is broken or uses what is not supported.</exception>
    public static IReadOnlyList<Statement> Parse(string template)
    {
        var parser = new TemplateParser(template);
        var body = parser.Body();
        return parser.reader.Current.Kind == TokenKind.End ? body : throw new TemplateException($"a block tag '{parser.reader.Following.Text}' that closes nothing", parser.reader.Current.Line);
    }

    /// <summary>Statements up to the end or a block tag with one of these names, which is left to the caller.</summary>
    private List<Statement> Body(params string[] endings)
    {
        if (++depth > DeepestNesting) throw new TemplateException($"more than {DeepestNesting} blocks inside each other", reader.Current.Line);
        List<Statement> body = [];
        while (reader.Current.Kind != TokenKind.End)
        {
            if (reader.Current.Kind == TokenKind.BlockBegin)
            {
                if (reader.Following.Kind == TokenKind.Name && (endings.Contains(reader.Following.Text, StringComparer.Ordinal) || reader.Following.Text.StartsWith("end", StringComparison.Ordinal))) break;
                reader.Take();
                body.Add(Block());
            }
            else if (reader.Current.Kind == TokenKind.Text)
            {
                var text = reader.Take();
                body.Add(new TextStatement(text.Text, text.Line));
            }
            else
            {
                var line = reader.Expect(TokenKind.OutputBegin, "{{").Line;
                body.Add(new OutputStatement(expressions.Tuple(), line));
                reader.Expect(TokenKind.OutputEnd, "}}");
            }
        }
        depth--;
        return body;
    }

    private Statement Block()
    {
        var tag = reader.Expect(TokenKind.Name, "a statement");
        switch (tag.Text)
        {
            case "if": return If(tag.Line);
            case "for": return For(tag.Line);
            case "set": return Set(tag.Line);
            case "macro": return Macro(tag.Line);
            case "filter":
                var filters = expressions.Filters(input: null);
                return new CaptureStatement(null, filters, BodyUntil("endfilter"), tag.Line);
            case "generation":
                return new ScopeStatement(BodyUntil("endgeneration"), tag.Line);
            case "break" or "continue":
                if (loops == 0) throw new TemplateException($"{tag.Text} outside of a loop", tag.Line);
                EndBlock();
                return new LoopControlStatement(tag.Text == "break", tag.Line);
            default:
                throw new TemplateException($"the statement '{tag.Text}' is not supported (if, for, set, macro, filter, raw, generation, break and continue are)", tag.Line);
        }
    }

    private IfStatement If(int line)
    {
        List<(Expression, IReadOnlyList<Statement>)> branches = [];
        IReadOnlyList<Statement> otherwise = [];
        do
        {
            var test = expressions.Tuple();
            EndBlock();
            branches.Add((test, Body("elif", "else")));
            reader.Expect(TokenKind.BlockBegin, "endif");
        }
        while (reader.TakeName("elif"));
        if (reader.TakeName("else"))
        {
            EndBlock();
            otherwise = Body();
            reader.Expect(TokenKind.BlockBegin, "endif");
        }
        reader.ExpectName("endif");
        EndBlock();
        return new IfStatement(branches, otherwise, line);
    }

    private ForStatement For(int line)
    {
        var names = Names();
        reader.ExpectName("in");
        var iterable = expressions.Tuple(withConditional: false);
        var filter = reader.TakeName("if") ? expressions.Parse() : null;
        if (reader.IsName("recursive")) throw new TemplateException("recursive loops are not supported", reader.Current.Line);
        EndBlock();
        loops++;
        var body = Body("else");
        loops--;
        reader.Expect(TokenKind.BlockBegin, "endfor");
        IReadOnlyList<Statement> otherwise = [];
        if (reader.TakeName("else"))
        {
            EndBlock();
            otherwise = Body();
            reader.Expect(TokenKind.BlockBegin, "endfor");
        }
        reader.ExpectName("endfor");
        EndBlock();
        return new ForStatement(names, iterable, filter, body, otherwise, line);
    }

    private Statement Set(int line)
    {
        var names = Names();
        var member = names.Count == 1 && reader.TakeOperator(".") ? reader.Expect(TokenKind.Name, "a member's name").Text : null;
        if (reader.TakeOperator("="))
        {
            var value = expressions.Tuple();
            EndBlock();
            return new SetStatement(names, member, value, line);
        }
        if (member is not null || names.Count != 1) throw reader.Unexpected("'='");
        var filters = reader.TakeOperator("|") ? expressions.Filters(input: null) : null;
        return new CaptureStatement(names[0], filters, BodyUntil("endset"), line);
    }

    private MacroStatement Macro(int line)
    {
        var name = reader.Expect(TokenKind.Name, "the macro's name").Text;
        List<(string, Expression?)> parameters = [];
        reader.ExpectOperator("(");
        while (!reader.TakeOperator(")"))
        {
            if (parameters.Count > 0) reader.ExpectOperator(",");
            var parameter = reader.Expect(TokenKind.Name, "a parameter's name").Text;
            parameters.Add((parameter, reader.TakeOperator("=") ? expressions.Parse() : null));
        }
        return new MacroStatement(name, parameters, BodyUntil("endmacro"), line);
    }

    private List<string> Names()
    {
        List<string> names = [];
        var parenthesised = reader.TakeOperator("(");
        do
        {
            var name = reader.Expect(TokenKind.Name, "a variable's name");
            if (name.Text is "true" or "false" or "none" or "True" or "False" or "None") throw new TemplateException($"{name.Text} cannot be set", name.Line);
            names.Add(name.Text);
        }
        while (reader.TakeOperator(","));
        if (parenthesised) reader.ExpectOperator(")");
        return names;
    }

    private List<Statement> BodyUntil(string ending)
    {
        EndBlock();
        // No break reaches from inside such a block to the loop around it.
        var outerLoops = loops;
        loops = 0;
        var body = Body();
        loops = outerLoops;
        reader.Expect(TokenKind.BlockBegin, ending);
        reader.ExpectName(ending);
        // Jinja lets the name of a macro follow its endmacro.
        if (ending == "endmacro" && reader.Current.Kind == TokenKind.Name) reader.Take();
        EndBlock();
        return body;
    }

    private void EndBlock() => reader.Expect(TokenKind.BlockEnd, "the end of the tag");
}
