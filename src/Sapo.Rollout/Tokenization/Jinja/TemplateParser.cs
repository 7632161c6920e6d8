namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Parses a template's statements. Use <see cref="Parse"/>.</summary>
internal sealed class TemplateParser
{
    private const int DeepestNesting = 100;
    private readonly TokenReader _reader;
    private readonly ExpressionParser _expressions;
    private int _depth;
    private int _loops;

    private TemplateParser(string template)
    {
        _reader = new TokenReader(TemplateLexer.Tokenize(template));
        _expressions = new ExpressionParser(_reader);
    }

    /// <summary>The statements of a template.</summary>
    /// <exception cref="TemplateException">The template is broken or uses what is not supported.</exception>
    public static IReadOnlyList<Statement> Parse(string template)
    {
        var parser = new TemplateParser(template);
        var body = parser.Body();
        return parser._reader.Current.Kind == TokenKind.End ? body : throw new TemplateException($"a block tag '{parser._reader.Following.Text}' that closes nothing", parser._reader.Current.Line);
    }

    /// <summary>Statements up to the end or a block tag with one of these names, which is left to the caller.</summary>
    private List<Statement> Body(params string[] endings)
    {
        if (++_depth > DeepestNesting) throw new TemplateException($"more than {DeepestNesting} blocks inside each other", _reader.Current.Line);
        List<Statement> body = [];
        while (_reader.Current.Kind != TokenKind.End)
        {
            if (_reader.Current.Kind == TokenKind.BlockBegin)
            {
                if (_reader.Following.Kind == TokenKind.Name && (endings.Contains(_reader.Following.Text, StringComparer.Ordinal) || _reader.Following.Text.StartsWith("end", StringComparison.Ordinal))) break;
                _reader.Take();
                body.Add(Block());
            }
            else if (_reader.Current.Kind == TokenKind.Text)
            {
                var text = _reader.Take();
                body.Add(new TextStatement(text.Text, text.Line));
            }
            else
            {
                var line = _reader.Expect(TokenKind.OutputBegin, "{{").Line;
                body.Add(new OutputStatement(_expressions.Tuple(), line));
                _reader.Expect(TokenKind.OutputEnd, "}}");
            }
        }
        _depth--;
        return body;
    }

    private Statement Block()
    {
        var tag = _reader.Expect(TokenKind.Name, "a statement");
        switch (tag.Text)
        {
            case "if": return If(tag.Line);
            case "for": return For(tag.Line);
            case "set": return Set(tag.Line);
            case "macro": return Macro(tag.Line);
            case "filter":
                var filters = _expressions.Filters(input: null);
                return new CaptureStatement(null, filters, BodyUntil("endfilter"), tag.Line);
            case "generation":
                return new ScopeStatement(BodyUntil("endgeneration"), tag.Line);
            case "break" or "continue":
                if (_loops == 0) throw new TemplateException($"{tag.Text} outside of a loop", tag.Line);
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
            var test = _expressions.Tuple();
            EndBlock();
            branches.Add((test, Body("elif", "else")));
            _reader.Expect(TokenKind.BlockBegin, "endif");
        }
        while (_reader.TakeName("elif"));
        if (_reader.TakeName("else"))
        {
            EndBlock();
            otherwise = Body();
            _reader.Expect(TokenKind.BlockBegin, "endif");
        }
        _reader.ExpectName("endif");
        EndBlock();
        return new IfStatement(branches, otherwise, line);
    }

    private ForStatement For(int line)
    {
        var names = Names();
        _reader.ExpectName("in");
        var iterable = _expressions.Tuple(withConditional: false);
        var filter = _reader.TakeName("if") ? _expressions.Parse() : null;
        if (_reader.IsName("recursive")) throw new TemplateException("recursive loops are not supported", _reader.Current.Line);
        EndBlock();
        _loops++;
        var body = Body("else");
        _loops--;
        _reader.Expect(TokenKind.BlockBegin, "endfor");
        IReadOnlyList<Statement> otherwise = [];
        if (_reader.TakeName("else"))
        {
            EndBlock();
            otherwise = Body();
            _reader.Expect(TokenKind.BlockBegin, "endfor");
        }
        _reader.ExpectName("endfor");
        EndBlock();
        return new ForStatement(names, iterable, filter, body, otherwise, line);
    }

    private Statement Set(int line)
    {
        var names = Names();
        var member = names.Count == 1 && _reader.TakeOperator(".") ? _reader.Expect(TokenKind.Name, "a member's name").Text : null;
        if (_reader.TakeOperator("="))
        {
            var value = _expressions.Tuple();
            EndBlock();
            return new SetStatement(names, member, value, line);
        }
        if (member is not null || names.Count != 1) throw _reader.Unexpected("'='");
        var filters = _reader.TakeOperator("|") ? _expressions.Filters(input: null) : null;
        return new CaptureStatement(names[0], filters, BodyUntil("endset"), line);
    }

    private MacroStatement Macro(int line)
    {
        var name = _reader.Expect(TokenKind.Name, "the macro's name").Text;
        List<(string, Expression?)> parameters = [];
        _reader.ExpectOperator("(");
        while (!_reader.TakeOperator(")"))
        {
            if (parameters.Count > 0) _reader.ExpectOperator(",");
            var parameter = _reader.Expect(TokenKind.Name, "a parameter's name").Text;
            parameters.Add((parameter, _reader.TakeOperator("=") ? _expressions.Parse() : null));
        }
        return new MacroStatement(name, parameters, BodyUntil("endmacro"), line);
    }

    private List<string> Names()
    {
        List<string> names = [];
        var parenthesised = _reader.TakeOperator("(");
        do
        {
            var name = _reader.Expect(TokenKind.Name, "a variable's name");
            if (name.Text is "true" or "false" or "none" or "True" or "False" or "None") throw new TemplateException($"{name.Text} cannot be set", name.Line);
            names.Add(name.Text);
        }
        while (_reader.TakeOperator(","));
        if (parenthesised) _reader.ExpectOperator(")");
        return names;
    }

    private List<Statement> BodyUntil(string ending)
    {
        EndBlock();
        // No break reaches from inside such a block to the loop around it.
        var outerLoops = _loops;
        _loops = 0;
        var body = Body();
        _loops = outerLoops;
        _reader.Expect(TokenKind.BlockBegin, ending);
        _reader.ExpectName(ending);
        // Jinja lets the name of a macro follow its endmacro.
        if (ending == "endmacro" && _reader.Current.Kind == TokenKind.Name) _reader.Take();
        EndBlock();
        return body;
    }

    private void EndBlock() => _reader.Expect(TokenKind.BlockEnd, "the end of the tag");
}
