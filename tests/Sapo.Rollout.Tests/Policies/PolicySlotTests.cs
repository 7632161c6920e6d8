using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Rollout.Policies;
using Sapo.Rollout.Tests.Decoding;
using Sapo.Rollout.Tests.Scheduling;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Policies;

/// <summary>The phases of a swap and their failures, without a model.</summary>
public sealed class PolicySlotTests
{
    [Theory]
    [InlineData("load")]
    [InlineData("probe")]
    public async Task SwapAsync_PhaseNeverEnds_NamesItAndKeepsTheOldVersion(string phase)
    {
        var clock = new ManualClock();
        await using var run = new Run(time: clock);
        using var hold = new Held(phase);
        if (phase == "load") run.Loader.BeforeLoad = hold.Wait;
        else run.Loader.BeforeProbe = hold.Wait;
        var swap = run.Slot.SwapAsync(Policy(1), default);
        await hold.Reached;
        clock.Advance(PolicySlot.PhaseDeadline + TimeSpan.FromSeconds(1));
        var error = await Assert.ThrowsAsync<TimeoutException>(() => swap);
        Assert.Contains($"v000001 did not finish its phase '{phase}'", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, run.Slot.Active.Manifest.Version);
        hold.Release();
        await run.Slot.DisposeAsync();
        await run.DisposeAsync();
        Assert.True(phase == "load" ? run.Loader.DisposedUnused == 1 : Assert.Single(run.Loader.Sessions).IsDisposed);
    }

    [Fact]
    public async Task SwapAsync_WhileAnotherIsUnderWay_IsRefused()
    {
        await using var run = new Run();
        using var hold = new Held("load");
        run.Loader.BeforeLoad = hold.Wait;
        var first = run.Slot.SwapAsync(Policy(1), default);
        await hold.Reached;
        await Assert.ThrowsAsync<InvalidOperationException>(() => run.Slot.SwapAsync(Policy(2), default));
        hold.Release();
        await first;
        Assert.Equal(1, run.Slot.Active.Manifest.Version);
    }

    [Fact]
    public async Task SwapAsync_CancelledDuringLoad_DisposesWhatComesTooLate()
    {
        await using var run = new Run();
        using var hold = new Held("load");
        using var cancel = new CancellationTokenSource();
        run.Loader.BeforeLoad = hold.Wait;
        var swap = run.Slot.SwapAsync(Policy(1), cancel.Token);
        await hold.Reached;
        run.Loader.BeforeLoad = null;
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => swap);
        hold.Release();
        await run.Slot.SwapAsync(Policy(2), default);
        Assert.Equal(2, run.Slot.Active.Manifest.Version);
        await run.Slot.DisposeAsync();
        Assert.Equal(1, run.Loader.DisposedUnused);
    }

    [Fact]
    public async Task SwapAsync_ProbeFails_DisposesTheNewVersion()
    {
        await using var run = new Run();
        run.Loader.BeforeProbe = () => throw new SwapFailedException(new PolicyVersion(1), (0, 3), -1, -2, new LogProbMismatch(4, 0.5, 1, 0.3), ProbeTolerance.Of(Precision.Fp32));
        await Assert.ThrowsAsync<SwapFailedException>(() => run.Slot.SwapAsync(Policy(1), default));
        Assert.True(Assert.Single(run.Loader.Sessions).IsDisposed);
        Assert.Null(run.Slot.LastSwap);
        Assert.Equal(0, run.Slot.Active.Manifest.Version);
        run.Loader.BeforeProbe = null;
        await run.Slot.SwapAsync(Policy(2), default);
        Assert.Equal(2, run.Slot.Active.Manifest.Version);
    }

    [Fact]
    public async Task SwapAsync_Stages_AreToldSeparately()
    {
        var clock = new ManualClock();
        await using var run = new Run(time: clock);
        run.Loader.BeforeLoad = () => clock.Advance(TimeSpan.FromSeconds(3));
        run.Loader.BeforeProbe = () => clock.Advance(TimeSpan.FromSeconds(2));
        var report = await run.Slot.SwapAsync(Policy(1), default);
        Assert.Equal((3000.0, 2000.0, 0.0, 2000.0, 5000.0), (report.BuildMilliseconds, report.ProbeMilliseconds, report.SwitchMilliseconds, report.PauseMilliseconds, report.ActiveMilliseconds));
        Assert.Null(report.FirstTokenMilliseconds);
        clock.Advance(TimeSpan.FromSeconds(4));
        await run.GenerateAsync(maxNewTokens: 1);
        Assert.Equal((9000.0, 9000.0), (run.Slot.LastSwap!.FirstTokenMilliseconds, run.Slot.LastSwap.FullSpeedMilliseconds));
    }

    [Fact]
    public async Task SwapAsync_Behind_PausesAreAdded()
    {
        var clock = new ManualClock();
        await using var run = new Run(MatrixProducts.Behind, clock);
        run.Loader.BeforeProbe = () => clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(2000, (await run.Slot.SwapAsync(Policy(1), default)).PauseMilliseconds);
        await run.Slot.SwapAsync(Policy(2), default); // waits for the build behind the first
        await Waiting.UntilAsync(() => run.Slot.LastSwap!.FullSpeedMilliseconds is not null, () => "full speed");
        Assert.Equal((2000.0, 4000.0), (run.Slot.LastSwap!.ProbeMilliseconds, run.Slot.LastSwap.PauseMilliseconds));
    }

    [Fact]
    public async Task SwapAsync_CancelledDuringItsProbe_StillTellsOfTheVersionServed()
    {
        await using var run = new Run();
        await run.Slot.SwapAsync(Policy(1), default);
        using var hold = new Held("probe");
        run.Loader.BeforeProbe = hold.Wait;
        using var cancel = new CancellationTokenSource();
        var swap = run.Slot.SwapAsync(Policy(2), cancel.Token);
        await hold.Reached;
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => swap);
        hold.Release();
        await run.GenerateAsync(maxNewTokens: 2);
        Assert.Equal((1, 1), (run.Slot.LastSwap!.Version.Value, run.Slot.Active.Manifest.Version));
        Assert.Equal([false, true], run.Loader.Sessions.Select(session => session.IsDisposed));
    }

    [Theory]
    [InlineData("load"), InlineData("probe")]
    public async Task DisposeAsync_DuringASwap_GivesItUpAndDisposesWhatWasLoaded(string phase)
    {
        var run = new Run();
        using var hold = new Held(phase);
        if (phase == "load") run.Loader.BeforeLoad = hold.Wait;
        else run.Loader.BeforeProbe = hold.Wait;
        var swap = run.Slot.SwapAsync(Policy(1), default);
        await hold.Reached;
        var disposed = run.Slot.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => swap);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => run.Slot.SwapAsync(Policy(2), default));
        hold.Release();
        await disposed;
        await run.DisposeAsync();
        Assert.True(phase == "load" ? run.Loader.DisposedUnused == 1 : Assert.Single(run.Loader.Sessions).IsDisposed);
    }

    [Fact]
    public async Task SwapAsync_Behind_LoadsUnpackedThenPrepacked()
    {
        await using var run = new Run(MatrixProducts.Behind);
        await run.Slot.SwapAsync(Policy(1), default);
        await run.Slot.SwapAsync(Policy(2), default); // waits for the build behind the first
        await run.Slot.DisposeAsync();
        Assert.Equal([false, true, false], run.Loader.Prepacked.Take(3));
    }

    [Fact]
    public async Task SwapAsync_BuildBehindFails_ReportsItAndGoesOnUnpacked()
    {
        await using var run = new Run(MatrixProducts.Behind);
        var probes = 0;
        run.Loader.BeforeProbe = () =>
        {
            if (++probes == 2) throw new InvalidOperationException("no room");
        };
        await run.Slot.SwapAsync(Policy(1), default);
        await Waiting.UntilAsync(() => run.Slot.LastSwap!.FullSpeedFailure is not null, () => "the build's failure");
        Assert.Equal("no room", run.Slot.LastSwap!.FullSpeedFailure);
        Assert.Equal(1, run.Slot.Active.Manifest.Version);
    }

    private static PublishedPolicy Policy(long version) => new("none", new PolicyManifest { FormatVersion = 1, Version = version, Files = [], Probe = [] });

    /// <summary>A place where the code under test stops until the test lets it go.</summary>
    private sealed class Held(string what) : IDisposable
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ManualResetEventSlim _released = new();

        public Task Reached => _reached.Task.WaitAsync(TimeSpan.FromMinutes(1));

        public void Wait()
        {
            _reached.SetResult();
            Assert.True(_released.Wait(TimeSpan.FromMinutes(1)), $"The test did not let the {what} go.");
        }

        public void Release() => _released.Set();

        public void Dispose() => _released.Dispose();
    }

    private sealed class Run : IAsyncDisposable
    {
        private readonly SchedulerHarness _harness;

        public Run(MatrixProducts products = MatrixProducts.Direct, TimeProvider? time = null)
        {
            _harness = new SchedulerHarness(slots: 2, time: time);
            Loader = new FakeLoader(_harness);
            Slot = new PolicySlot(Policy(0), Loader, _harness.Scheduler, products, time ?? TimeProvider.System);
        }

        public FakeLoader Loader { get; }

        public PolicySlot Slot { get; }

        public Task<RolloutGroup> GenerateAsync(int maxNewTokens) => _harness.Generate(SchedulerHarness.Prompt(1, 3), groupSize: 1, maxNewTokens);

        public ValueTask DisposeAsync() => _harness.DisposeAsync();
    }

    private sealed class FakeLoader(SchedulerHarness harness) : IPolicyLoader
    {
        public Action? BeforeLoad { get; set; }

        public Action? BeforeProbe { get; set; }

        public List<bool> Prepacked { get; } = [];

        public List<FakeDecodeSession> Sessions { get; } = [];

        public int DisposedUnused { get; private set; }

        public long KeyValueBytes => 0;

        public ILoadedPolicy Load(PublishedPolicy policy, bool prepack)
        {
            BeforeLoad?.Invoke();
            Prepacked.Add(prepack);
            Sessions.Add(harness.NewSession(policy.Manifest.Version));
            return new Loaded(this, Sessions[^1]);
        }

        public void Dispose()
        {
            // holds nothing
        }

        private sealed class Loaded(FakeLoader loader, FakeDecodeSession session) : ILoadedPolicy
        {
            public long WeightBytes => 0;

            public LogProbMismatch? Probe(IReadOnlyList<ProbeSequence> probe)
            {
                loader.BeforeProbe?.Invoke();
                return null;
            }

            public IDecodeSession Activate() => session;

            public void Dispose() => loader.DisposedUnused++;
        }
    }
}
