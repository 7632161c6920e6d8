using static TorchSharp.torch;

namespace TorchSharp;

/// <summary>Each thread's stack of dispose scopes and its counts of tensors.</summary>
public class DisposeScopeManager
{
    [ThreadStatic] private static DisposeScopeManager? t_current;

    /// <summary>This thread's counts.</summary>
    public static ThreadDisposeScopeStatistics Statistics => Current.Counts;

    internal static DisposeScopeManager Current => t_current ??= new DisposeScopeManager();

    internal ThreadDisposeScopeStatistics Counts { get; } = new();

    internal DisposeScope? Innermost { get; set; }

    /// <summary>Counts a new tensor and puts it into the innermost scope, which is returned.</summary>
    internal DisposeScope? Register(Tensor tensor)
    {
        DisposeScope? scope = Innermost;
        if (scope is null)
        {
            Counts.TensorStatistics.CreatedOutsideScopeCount++;
            return null;
        }
        Counts.TensorStatistics.CreatedInScopeCount++;
        scope.Held.Add(tensor);
        return scope;
    }

    /// <summary>Counts the end of a tensor, on the thread that ends it.</summary>
    internal void CountDisposal(DisposeScope? owner)
    {
        if (owner is null) Counts.TensorStatistics.DisposedOutsideScopeCount++;
        else Counts.TensorStatistics.DisposedInScopeCount++;
    }

    /// <summary>Takes a scope out of the stack, wherever in it it is.</summary>
    internal void Remove(DisposeScope scope)
    {
        if (ReferenceEquals(Innermost, scope))
        {
            Innermost = scope.Outer;
            return;
        }
        for (DisposeScope? inner = Innermost; inner is not null; inner = inner.Outer)
        {
            if (!ReferenceEquals(inner.Outer, scope)) continue;
            inner.Outer = scope.Outer;
            return;
        }
    }
}
