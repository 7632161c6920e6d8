using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>Who disposes what, and how it is counted. Counts are per thread: each test counts on a thread of its own.</summary>
public sealed class DisposeScopeTests
{
    [Fact]
    public void Scope_AtItsEnd_DisposesWhatWasMadeInIt() => OnAThread(() =>
    {
        Tensor outside = ones(1), inside;
        using (DisposeScope scope = NewDisposeScope())
        {
            inside = ones(1) + outside;
            Assert.Same(scope, CurrentDisposeScope);
            Assert.Equal(2, scope.DisposablesCount);
            Assert.Contains(inside, scope.DisposablesView);
            Assert.True(scope.Contains(inside) && !scope.Contains(outside));
        }
        Assert.True(inside.IsInvalid && !outside.IsInvalid);
        Assert.Null(CurrentDisposeScope);
        outside.Dispose();
        Assert.Throws<InvalidOperationException>(() => outside.add(1));
    });

    [Fact]
    public void Scope_Nested_MovesOutwards() => OnAThread(() =>
    {
        using DisposeScope outer = NewDisposeScope();
        Tensor moved, alsoMoved, detached, lost;
        using (DisposeScope inner = NewDisposeScope())
        {
            moved = ones(1).MoveToOuterDisposeScope();
            (alsoMoved, _) = inner.MoveToOuter(ones(1), ones(1));
            detached = inner.Detach(ones(1));
            lost = ones(1);
        }
        Assert.True(outer.Contains(moved) && outer.Contains(alsoMoved) && !outer.Contains(detached));
        Assert.True(lost.IsInvalid && !detached.IsInvalid);
        outer.Dispose();
        Assert.True(moved.IsInvalid && alsoMoved.IsInvalid && !detached.IsInvalid);
        detached.Dispose();
    });

    [Fact]
    public void MoveToOuter_WithoutAnOuterScope_Detaches() => OnAThread(() =>
    {
        Tensor kept;
        using (NewDisposeScope()) kept = ones(1).MoveToOuterDisposeScope();
        Assert.False(kept.IsInvalid);
        Assert.Equal(1, DisposeScopeManager.Statistics.DetachedFromScopeCount);
        kept.Dispose();
    });

    [Fact]
    public void DisposeEverythingBut_KeepsWhatIsNamed() => OnAThread(() =>
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor a = ones(1), b = ones(1), c = ones(1), d = ones(1);
        Assert.Same(a, scope.DisposeEverythingBut(a));
        Assert.True(!a.IsInvalid && b.IsInvalid && c.IsInvalid && d.IsInvalid);
        Assert.Equal(1, scope.DisposablesCount);
        Tensor e = ones(1), f = ones(1), g = ones(1);
        scope.DisposeEverythingBut(a, e);
        Assert.True(!a.IsInvalid && !e.IsInvalid && f.IsInvalid && g.IsInvalid);
        scope.DisposeEverything();
        Assert.True(a.IsInvalid && e.IsInvalid);
    });

    [Fact]
    public void Attach_BringsATensorIn() => OnAThread(() =>
    {
        Tensor loose = ones(1), other = ones(1);
        using (DisposeScope scope = NewDisposeScope())
        {
            scope.Attach(loose);
            other.MoveToOtherDisposeScope(loose);
            Assert.Equal(2, scope.DisposablesCount);
            Assert.Equal(2, DisposeScopeManager.Statistics.AttachedToScopeCount);
            Assert.Same(other, other.DetachFromDisposeScope());
        }
        Assert.True(loose.IsInvalid && !other.IsInvalid);
        other.Dispose();
    });

    [Fact]
    public void MoveToOther_GoesToThatScope() => OnAThread(() =>
    {
        using DisposeScope first = NewDisposeScope(), second = NewDisposeScope();
        Tensor a = ones(1), b = ones(1), c = ones(1);
        second.MoveToOther(first, a);
        second.MoveToOther(first, b, c);
        Assert.Equal((3, 0), (first.DisposablesCount, second.DisposablesCount));
    });

    [Fact]
    public void Statistics_CountEveryKindOfLife() => OnAThread(() =>
    {
        ThreadDisposeScopeStatistics all = DisposeScopeManager.Statistics;
        LifetimeStatistics tensors = all.TensorStatistics;
        all.Reset();
        Tensor outside = ones(1);
        using (DisposeScope scope = NewDisposeScope())
        {
            Tensor early = ones(1), late = ones(1);
            early.Dispose();
            Assert.Equal((1, 2, 1, 2), (tensors.CreatedOutsideScopeCount, tensors.CreatedInScopeCount, tensors.DisposedInScopeCount,
                tensors.ThreadTotalLiveCount));
            Assert.False(late.IsInvalid);
        }
        outside.Dispose();
        outside.Dispose();
        Assert.Equal((2, 1, 0), (tensors.DisposedInScopeCount, tensors.DisposedOutsideScopeCount, all.ThreadTotalLiveCount));
        Assert.Equal("ThreadTotalLiveCount: 0; CreatedOutsideScopeCount: 1; DisposedOutsideScopeCount: 1; CreatedInScopeCount: 2; DisposedInScopeCount: 2; AttachedToScopeCount: 0; DetachedFromScopeCount: 0", tensors.ToString());
        Assert.Equal(tensors.ToString(), all.ToString());
        Assert.Equal(0, all.PackedSequenceStatistics.CreatedInScopeCount);
    });

    [Fact]
    public void WrappedScope_KeepsOnlyItsResult() => OnAThread(() =>
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor between = null!;
        Tensor result = WrappedTensorDisposeScope(() => (between = ones(1) + 1) * 2);
        Assert.True(between.IsInvalid && !result.IsInvalid && scope.Contains(result));
    });

    [Fact]
    public void Parameter_TakesOverTensorAndScope() => OnAThread(() =>
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor data = ones(2);
        var parameter = new Modules.Parameter(data);
        Assert.True(data.IsInvalid && parameter.requires_grad && scope.Contains(parameter));
        Assert.Equal(1, scope.DisposablesCount);
        Assert.False(nn.Parameter(ones(1), requires_grad: false).requires_grad);
        Assert.True(ones(1).AsParameter().requires_grad);
    });

    [Fact]
    public void Handle_Decoupled_BelongsToTheCaller() => OnAThread(() =>
    {
        Tensor first = ones(1);
        nint handle = first.DecoupleFromNativeHandle();
        Assert.True(first.IsInvalid);
        using Tensor second = Tensor.UnsafeCreateTensor(handle);
        Assert.Equal(1, second.item<float>());
        Assert.True(Tensor.PeakCount >= Tensor.TotalCount && Tensor.TotalCount > 0);
    });

    [Fact]
    public void Scope_EndedOutOfOrder_LeavesTheStack() => OnAThread(() =>
    {
        DisposeScope outer = NewDisposeScope(), inner = NewDisposeScope();
        outer.Dispose();
        Assert.Same(inner, CurrentDisposeScope);
        inner.Dispose();
        Assert.Null(CurrentDisposeScope);
        Assert.Throws<ObjectDisposedException>(() => inner.DisposeEverything());
    });

    private static void OnAThread(Action body)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                DisposeScopeManager.Statistics.Reset();
                body();
            }
            catch (Exception caught)
            {
                failure = caught;
            }
        });
        thread.Start();
        thread.Join();
        if (failure is not null) throw new Xunit.Sdk.XunitException(failure.ToString());
    }
}
