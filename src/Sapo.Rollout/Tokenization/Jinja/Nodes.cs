// What a parsed template is made of. Nodes are immutable; ExpressionEvaluator and TemplateRun give them their meaning.
namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Something that has a value.</summary>
/// <param name="Line">Its line in the template, from 1.</param>
internal abstract record Expression(int Line);

/// <summary>A literal.</summary>
internal sealed record Constant(object? Value, int Line) : Expression(Line);

/// <summary>A variable.</summary>
internal sealed record Variable(string Name, int Line) : Expression(Line);

/// <summary><c>[a, b]</c>, or the tuple <c>(a, b)</c>.</summary>
internal sealed record ListLiteral(IReadOnlyList<Expression> Items, bool IsTuple, int Line) : Expression(Line);

/// <summary><c>{key: value}</c></summary>
internal sealed record MappingLiteral(IReadOnlyList<(Expression Key, Expression Value)> Entries, int Line) : Expression(Line);

/// <summary><c>then if test else otherwise</c>; without else the value is undefined.</summary>
internal sealed record Conditional(Expression Test, Expression Then, Expression? Otherwise, int Line) : Expression(Line);

/// <summary><c>and</c>, <c>or</c>: the operand that decides.</summary>
internal sealed record Logical(bool IsAnd, Expression Left, Expression Right, int Line) : Expression(Line);

/// <summary><c>not</c></summary>
internal sealed record Negation(Expression Operand, int Line) : Expression(Line);

/// <summary><c>a &lt; b &lt;= c</c>: a chain of comparisons.</summary>
internal sealed record Comparison(Expression First, IReadOnlyList<(string Operator, Expression Operand)> Rest, int Line) : Expression(Line);

/// <summary>Arithmetic and concatenation.</summary>
internal sealed record Binary(string Operator, Expression Left, Expression Right, int Line) : Expression(Line);

/// <summary><c>-a</c> or <c>+a</c></summary>
internal sealed record Signed(string Operator, Expression Operand, int Line) : Expression(Line);

/// <summary><c>a.name</c></summary>
internal sealed record AttributeAccess(Expression Target, string Name, int Line) : Expression(Line);

/// <summary><c>a[index]</c></summary>
internal sealed record ItemAccess(Expression Target, Expression Index, int Line) : Expression(Line);

/// <summary><c>a[start:stop:step]</c></summary>
internal sealed record SliceAccess(Expression Target, Expression? Start, Expression? Stop, Expression? Step, int Line) : Expression(Line);

/// <summary>The arguments of a call, a filter or a test.</summary>
internal sealed record ArgumentList(IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
{
    /// <summary>No arguments.</summary>
    public static readonly ArgumentList None = new([], []);
}

/// <summary><c>f(arguments)</c></summary>
internal sealed record Call(Expression Callee, ArgumentList Arguments, int Line) : Expression(Line);

/// <summary><c>input | name(arguments)</c>; without input inside a filter block, where the block's text is the input.</summary>
internal sealed record FilterCall(Expression? Input, string Name, ArgumentList Arguments, int Line) : Expression(Line);

/// <summary><c>input is name(arguments)</c></summary>
internal sealed record TestCall(Expression Input, string Name, ArgumentList Arguments, int Line) : Expression(Line);

/// <summary>Something that writes text or changes variables.</summary>
/// <param name="Line">Its line in the template, from 1.</param>
internal abstract record Statement(int Line);

/// <summary>Text outside of tags.</summary>
internal sealed record TextStatement(string Text, int Line) : Statement(Line);

/// <summary><c>{{ value }}</c></summary>
internal sealed record OutputStatement(Expression Value, int Line) : Statement(Line);

/// <summary><c>if / elif / else</c></summary>
internal sealed record IfStatement(IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> Branches, IReadOnlyList<Statement> Otherwise, int Line) : Statement(Line);

/// <summary><c>for names in iterable if filter ... else ...</c></summary>
internal sealed record ForStatement(
    IReadOnlyList<string> Names, Expression Iterable, Expression? Filter, IReadOnlyList<Statement> Body, IReadOnlyList<Statement> Otherwise, int Line) : Statement(Line);

/// <summary><c>set name = value</c>, <c>set a, b = value</c>, or <c>set space.name = value</c>.</summary>
internal sealed record SetStatement(IReadOnlyList<string> Names, string? NamespaceMember, Expression Value, int Line) : Statement(Line);

/// <summary><c>set name | filters ... endset</c> (a name) and <c>filter filters ... endfilter</c> (no name).</summary>
internal sealed record CaptureStatement(string? Name, Expression? Filters, IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary><c>macro name(parameters) ... endmacro</c></summary>
internal sealed record MacroStatement(string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary>Statements with their own variables (<c>generation</c>).</summary>
internal sealed record ScopeStatement(IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary><c>break</c> or <c>continue</c></summary>
internal sealed record LoopControlStatement(bool IsBreak, int Line) : Statement(Line);
