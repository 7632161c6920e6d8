namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The value of expressions in a scope.</summary>
/// <param name="budget">Counts steps, so that no template runs for ever.</param>
internal sealed class ExpressionEvaluator(StepBudget budget)
{
    /// <summary>The value of an expression.</summary>
    /// <exception cref="TemplateException">With the line where it happened.</exception>
    public object? Evaluate(Expression expression, Scope scope)
    {
        budget.Take();
        StackGuard.Check();
        try
        {
            return Dispatch(expression, scope);
        }
        catch (TemplateException error) when (error.Line == 0)
        {
            error.Line = expression.Line;
            throw;
        }
    }

    /// <summary>The truth of an expression.</summary>
    public bool IsTrue(Expression expression, Scope scope) => Operators.IsTrue(Evaluate(expression, scope));

    /// <summary>Applies the filters of a filter block or set block to its text.</summary>
    public object? ApplyFilters(Expression filters, object? text, Scope scope)
    {
        var filter = (FilterCall)filters;
        var input = filter.Input is null ? text : ApplyFilters(filter.Input, text, scope);
        return Filters.Apply(filter.Name, input, Values(filter.Name, filter.Arguments, scope));
    }

    private object? Dispatch(Expression expression, Scope scope)
    {
        switch (expression)
        {
            case Constant constant: return constant.Value;
            case Variable variable: return scope.Get(variable.Name);
            case ListLiteral list: return new TemplateList([.. list.Items.Select(item => Evaluate(item, scope))], list.IsTuple);
            case MappingLiteral mapping: return Mapping(mapping, scope);
            case Conditional conditional:
                if (IsTrue(conditional.Test, scope)) return Evaluate(conditional.Then, scope);
                return conditional.Otherwise is { } otherwise ? Evaluate(otherwise, scope) : new Undefined("the value of an if without else");
            case Logical logical:
                var left = Evaluate(logical.Left, scope);
                return Operators.IsTrue(left) == logical.IsAnd ? Evaluate(logical.Right, scope) : left;
            case Negation negation: return !IsTrue(negation.Operand, scope);
            case Comparison comparison: return Compare(comparison, scope);
            case Binary binary: return Operators.Apply(binary.Operator, Evaluate(binary.Left, scope), Evaluate(binary.Right, scope));
            case Signed signed: return Operators.Signed(signed.Operator, Evaluate(signed.Operand, scope));
            case AttributeAccess access: return Members.Attribute(Evaluate(access.Target, scope), access.Name);
            case ItemAccess access: return Members.Item(Evaluate(access.Target, scope), Evaluate(access.Index, scope));
            case SliceAccess slice: return Operators.Slice(Evaluate(slice.Target, scope), Bound(slice.Start, scope), Bound(slice.Stop, scope), Bound(slice.Step, scope));
            case Call call: return Invoke(call, scope);
            case FilterCall filter: return Filters.Apply(filter.Name, Evaluate(filter.Input!, scope), Values(filter.Name, filter.Arguments, scope));
            case TestCall test: return Tests.Apply(test.Name, Evaluate(test.Input, scope), Values(test.Name, test.Arguments, scope));
            default: throw new InvalidOperationException($"No evaluation of {expression.GetType().Name}.");
        }
    }

    private object? Bound(Expression? bound, Scope scope) => bound is null ? null : Evaluate(bound, scope);

    private bool Compare(Comparison comparison, Scope scope)
    {
        var left = Evaluate(comparison.First, scope);
        foreach (var (operation, operand) in comparison.Rest)
        {
            var right = Evaluate(operand, scope);
            if (!Operators.Compare(operation, left, right)) return false;
            left = right;
        }
        return true;
    }

    private TemplateMapping Mapping(MappingLiteral mapping, Scope scope)
    {
        var entries = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (key, value) in mapping.Entries)
            entries[Evaluate(key, scope) as string ?? throw new TemplateException("only strings are supported as keys of a mapping")] = Evaluate(value, scope);
        return new TemplateMapping(entries);
    }

    private object? Invoke(Call call, Scope scope)
    {
        var callee = Evaluate(call.Callee, scope);
        if (callee is Undefined undefined) throw new TemplateException($"'{undefined.Name}' is undefined, or is not supported as a function");
        if (callee is not TemplateFunction function) throw new TemplateException($"a {PythonText.Kind(callee)} is called");
        return function.Invoke(Values(function.Name, call.Arguments, scope));
    }

    private Arguments Values(string name, ArgumentList list, Scope scope)
    {
        var named = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        var positional = list.Positional.Select(argument => Evaluate(argument, scope)).ToArray();
        foreach (var (argument, value) in list.Named)
            if (!named.TryAdd(argument, Evaluate(value, scope))) throw new TemplateException($"{name} is given {argument} twice");
        return new Arguments(name, positional, named);
    }
}
