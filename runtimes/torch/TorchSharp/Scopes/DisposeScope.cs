using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>
/// Owns the tensors that are created while it is the innermost scope of its thread, and disposes them when it ends.
/// A tensor that is to live on is moved to the outer scope or detached from all scopes.
/// </summary>
public sealed class DisposeScope : IDisposable
{
    private DisposeScopeManager? _manager;

    internal DisposeScope(DisposeScopeManager manager)
    {
        _manager = manager;
        Outer = manager.Innermost;
        manager.Innermost = this;
    }

    internal DisposeScope? Outer { get; set; }

    internal HashSet<IDisposable> Held { get; private set; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>What the scope holds at this moment.</summary>
    public IReadOnlyList<IDisposable> DisposablesView
    {
        get
        {
            _ = Alive();
            return Held.ToArray();
        }
    }

    public int DisposablesCount
    {
        get
        {
            _ = Alive();
            return Held.Count;
        }
    }

    public bool Contains(IDisposable disposable) => Held.Contains(disposable);

    public T MoveToOuter<T>(T disposable)
        where T : IDisposable => MoveToOther(Outer, disposable);

    public (T1 first, T2 second) MoveToOuter<T1, T2>(T1 first, T2 second)
        where T1 : IDisposable
        where T2 : IDisposable => MoveToOther(Outer, first, second);

    public (T1 first, T2 second, T3 third) MoveToOuter<T1, T2, T3>(T1 first, T2 second, T3 third)
        where T1 : IDisposable
        where T2 : IDisposable
        where T3 : IDisposable => MoveToOther(Outer, first, second, third);

    public void MoveToOuter(params IDisposable[] disposables) => MoveToOther(Outer, (IEnumerable<IDisposable>)disposables);

    public void MoveToOuter(IEnumerable<IDisposable> disposables) => MoveToOther(Outer, disposables);

    public T MoveToOther<T>(DisposeScope? scope, T disposable)
        where T : IDisposable
    {
        MoveToOther(scope, (IEnumerable<IDisposable>)[disposable]);
        return disposable;
    }

    public (T1 first, T2 second) MoveToOther<T1, T2>(DisposeScope? scope, T1 first, T2 second)
        where T1 : IDisposable
        where T2 : IDisposable
    {
        MoveToOther(scope, (IEnumerable<IDisposable>)[first, second]);
        return (first, second);
    }

    public (T1 first, T2 second, T3 third) MoveToOther<T1, T2, T3>(DisposeScope? scope, T1 first, T2 second, T3 third)
        where T1 : IDisposable
        where T2 : IDisposable
        where T3 : IDisposable
    {
        MoveToOther(scope, (IEnumerable<IDisposable>)[first, second, third]);
        return (first, second, third);
    }

    public void MoveToOther(DisposeScope? scope, params IDisposable[] disposables) =>
        MoveToOther(scope, (IEnumerable<IDisposable>)disposables);

    /// <summary>Moves what this scope holds to another; without another it is detached.</summary>
    public void MoveToOther(DisposeScope? scope, IEnumerable<IDisposable> disposables)
    {
        _ = Alive();
        if (scope is null)
        {
            Detach(disposables);
            return;
        }
        foreach (IDisposable disposable in disposables)
            if (Held.Remove(disposable)) scope.Take(disposable);
    }

    public T Detach<T>(T disposable)
        where T : IDisposable
    {
        Detach((IEnumerable<IDisposable>)[disposable]);
        return disposable;
    }

    public (T1 first, T2 second) Detach<T1, T2>(T1 first, T2 second)
        where T1 : IDisposable
        where T2 : IDisposable
    {
        Detach((IEnumerable<IDisposable>)[first, second]);
        return (first, second);
    }

    public (T1 first, T2 second, T3 third) Detach<T1, T2, T3>(T1 first, T2 second, T3 third)
        where T1 : IDisposable
        where T2 : IDisposable
        where T3 : IDisposable
    {
        Detach((IEnumerable<IDisposable>)[first, second, third]);
        return (first, second, third);
    }

    public void Detach(params IDisposable[] disposables) => Detach((IEnumerable<IDisposable>)disposables);

    /// <summary>Takes what this scope holds out of all scopes: whoever has it must dispose it.</summary>
    public void Detach(IEnumerable<IDisposable> disposables)
    {
        DisposeScopeManager manager = Alive();
        foreach (IDisposable disposable in disposables)
        {
            if (!Held.Remove(disposable) || disposable is not Tensor tensor) continue;
            manager.Counts.TensorStatistics.DetachedFromScopeCount++;
            tensor.OwningDisposeScope = null;
        }
    }

    public void Attach(IDisposable disposable) => _ = Attach((IEnumerable<IDisposable>)[disposable]);

    public void Attach(params IDisposable[] disposables) => _ = Attach((IEnumerable<IDisposable>)disposables);

    /// <summary>Brings tensors into this scope, out of the one that holds them.</summary>
    public IReadOnlyList<IDisposable> Attach(IEnumerable<IDisposable> disposables)
    {
        DisposeScopeManager manager = Alive();
        var attached = new List<IDisposable>();
        foreach (IDisposable disposable in disposables)
        {
            if (Take(disposable)) manager.Counts.TensorStatistics.AttachedToScopeCount++;
            attached.Add(disposable);
        }
        return attached;
    }

    public void DisposeEverything() => DisposeEverythingBut((IEnumerable<IDisposable>)[]);

    public void DisposeEverythingBut(params IDisposable[] keep) => DisposeEverythingBut((IEnumerable<IDisposable>)keep);

    public T DisposeEverythingBut<T>(T keep)
        where T : IDisposable
    {
        DisposeEverythingBut((IEnumerable<IDisposable>)[keep]);
        return keep;
    }

    public (T1 first, T2 second) DisposeEverythingBut<T1, T2>(T1 first, T2 second)
        where T1 : IDisposable
        where T2 : IDisposable
    {
        DisposeEverythingBut((IEnumerable<IDisposable>)[first, second]);
        return (first, second);
    }

    public (T1 first, T2 second, T3 third) DisposeEverythingBut<T1, T2, T3>(T1 first, T2 second, T3 third)
        where T1 : IDisposable
        where T2 : IDisposable
        where T3 : IDisposable
    {
        DisposeEverythingBut((IEnumerable<IDisposable>)[first, second, third]);
        return (first, second, third);
    }

    /// <summary>Disposes what the scope holds except what is to be kept, which stays in the scope.</summary>
    public void DisposeEverythingBut(IEnumerable<IDisposable> inKeep)
    {
        _ = Alive();
        HashSet<IDisposable> held = Held;
        Held = new HashSet<IDisposable>(inKeep, ReferenceEqualityComparer.Instance);
        foreach (IDisposable disposable in held)
            if (!Held.Contains(disposable)) disposable.Dispose();
    }

    public void Dispose()
    {
        if (_manager is not { } manager) return;
        DisposeEverything();
        manager.Remove(this);
        _manager = null;
    }

    /// <summary>Forgets something that was disposed on its own.</summary>
    public void MarkAsDisposed(IDisposable disposable)
    {
        _ = Alive();
        Held.Remove(disposable);
        if (disposable is Tensor tensor) tensor.OwningDisposeScope = null;
    }

    /// <summary>Puts a tensor into the place of another whose handle it took over.</summary>
    internal void TakeOver(Tensor original, Tensor replacement)
    {
        if (!Held.Remove(original)) return;
        original.OwningDisposeScope = null;
        Take(replacement);
    }

    private bool Take(IDisposable disposable)
    {
        if (disposable is not Tensor tensor) throw new InvalidOperationException("A DisposeScope holds tensors only.");
        DisposeScope? owner = tensor.OwningDisposeScope;
        if (ReferenceEquals(owner, this)) return false;
        Held.Add(tensor);
        owner?.Held.Remove(tensor);
        tensor.OwningDisposeScope = this;
        return true;
    }

    private DisposeScopeManager Alive() => _manager ?? throw new ObjectDisposedException(nameof(DisposeScope));
}
