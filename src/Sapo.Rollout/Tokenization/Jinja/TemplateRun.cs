using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>One rendering of a template.</summary>
internal sealed class TemplateRun
{
    /// <summary>No prompt is longer than this.</summary>
    private const int LongestText = 20_000_000;

    private readonly StepBudget _budget = new();
    private readonly ExpressionEvaluator _expressions;
    private StringBuilder _output = new();

    private TemplateRun() => _expressions = new ExpressionEvaluator(_budget);

    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    /// <summary>The text of a template.</summary>
    /// <param name="template">Its statements.</param>
    /// <param name="variables">The outermost variables; the template may hide them but not change them.</param>
    public static string Render(IReadOnlyList<Statement> template, Scope variables)
    {
        var run = new TemplateRun();
        run.Run(template, new Scope(variables));
        return run._output.ToString();
    }

    private Flow Run(IReadOnlyList<Statement> statements, Scope scope)
    {
        StackGuard.Check();
        foreach (var statement in statements)
        {
            _budget.Take();
            try
            {
                var flow = Run(statement, scope);
                if (flow != Flow.Next) return flow;
            }
            catch (TemplateException error) when (error.Line == 0)
            {
                error.Line = statement.Line;
                throw;
            }
        }
        return Flow.Next;
    }

    private Flow Run(Statement statement, Scope scope)
    {
        switch (statement)
        {
            case TextStatement text:
                Write(text.Text);
                return Flow.Next;
            case OutputStatement written:
                Write(PythonText.Str(_expressions.Evaluate(written.Value, scope)));
                return Flow.Next;
            case IfStatement choice:
                foreach (var (test, body) in choice.Branches)
                    if (_expressions.IsTrue(test, scope)) return Run(body, scope);
                return Run(choice.Otherwise, scope);
            case ForStatement loop:
                return Loop(loop, scope);
            case SetStatement set:
                Assign(set, scope);
                return Flow.Next;
            case CaptureStatement capture:
                Capture(capture, scope);
                return Flow.Next;
            case MacroStatement macro:
                scope.Set(macro.Name, new TemplateFunction(macro.Name, arguments => CallMacro(macro, arguments, scope)));
                return Flow.Next;
            case ScopeStatement block:
                return Run(block.Body, new Scope(scope));
            case LoopControlStatement control:
                return control.IsBreak ? Flow.Break : Flow.Continue;
            default:
                throw new InvalidOperationException($"No execution of {statement.GetType().Name}.");
        }
    }

    private void Write(string text)
    {
        if (_output.Length + text.Length > LongestText) throw new TemplateException($"the text grows beyond {LongestText} characters");
        _output.Append(text);
    }

    private Flow Loop(ForStatement loop, Scope scope)
    {
        var items = Operators.Items(_expressions.Evaluate(loop.Iterable, scope));
        if (loop.Filter is { } filter)
        {
            items = [.. items.Where(item =>
            {
                var inner = new Scope(scope);
                Unpack(loop.Names, item, inner);
                return _expressions.IsTrue(filter, inner);
            })];
        }
        if (items.Count == 0) return Run(loop.Otherwise, new Scope(scope));
        var state = new LoopState(items);
        for (var i = 0; i < items.Count; i++)
        {
            _budget.Take();
            state.Index = i;
            var inner = new Scope(scope);
            inner.Set("loop", state);
            Unpack(loop.Names, items[i], inner);
            if (Run(loop.Body, inner) == Flow.Break) break;
        }
        return Flow.Next;
    }

    private void Assign(SetStatement set, Scope scope)
    {
        var value = _expressions.Evaluate(set.Value, scope);
        if (set.NamespaceMember is not { } member)
        {
            Unpack(set.Names, value, scope);
            return;
        }
        if (scope.Get(set.Names[0]) is not TemplateNamespace target) throw new TemplateException($"{set.Names[0]}.{member} cannot be set: {set.Names[0]} is no namespace");
        target.Members[member] = value;
    }

    private static void Unpack(IReadOnlyList<string> names, object? value, Scope scope)
    {
        if (names.Count == 1)
        {
            scope.Set(names[0], value);
            return;
        }
        var items = Operators.Items(value);
        if (items.Count != names.Count) throw new TemplateException($"{items.Count} values for {names.Count} names");
        for (var i = 0; i < names.Count; i++) scope.Set(names[i], items[i]);
    }

    private void Capture(CaptureStatement capture, Scope scope)
    {
        object? text = Captured(capture.Body, new Scope(scope));
        if (capture.Filters is { } filters) text = _expressions.ApplyFilters(filters, text, scope);
        if (capture.Name is { } name) scope.Set(name, text);
        else Write(PythonText.Str(text));
    }

    private string Captured(IReadOnlyList<Statement> body, Scope scope)
    {
        var outside = _output;
        _output = new StringBuilder();
        Run(body, scope);
        var text = _output.ToString();
        _output = outside;
        return text;
    }

    private string CallMacro(MacroStatement macro, Arguments arguments, Scope definedIn)
    {
        var given = arguments.Bind([.. macro.Parameters.Select(parameter => parameter.Name)]);
        var scope = new Scope(definedIn);
        for (var i = 0; i < given.Length; i++)
        {
            var (name, absent) = macro.Parameters[i];
            scope.Set(name, given[i] is { } value ? value.Value : absent is null ? new Undefined(name) : _expressions.Evaluate(absent, scope));
        }
        return _budget.Deeper(() => Captured(macro.Body, scope));
    }
}
