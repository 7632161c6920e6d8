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
        using var hold = new ManualResetEventSlim();
        var held = new TaskCompletionSource();
        void Hold()
        {
            held.SetResult();
            hold.Wait();
        }
        if (phase == "load") run.Loader.BeforeLoad = Hold;
        else run.Loader.BeforeProbe = Hold;
        var swap = run.Slot.SwapAsync(Policy(1), default);
        await held.Task;
        clock.Advance(PolicySlot.PhaseDeadline + TimeSpan.FromSeconds(1));
        var error = await Assert.ThrowsAsync<TimeoutException>(() => swap);
        Assert.Contains($"v000001 did not finish its phase '{phase}'", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, run.Slot.Active.Manifest.Version);
        hold.Set();
        await run.Slot.DisposeAsync();
        Assert.Equal(1, run.Loader.DisposedUnused);
    }

    [Fact]
    public async Task SwapAsync_CancelledDuringLoad_DisposesWhatComesTooLate()
    {
        await using var run = new Run();
        using var hold = new ManualResetEventSlim();
        using var cancel = new CancellationTokenSource();
        run.Loader.BeforeLoad = hold.Wait;
        var swap = run.Slot.SwapAsync(Policy(1), cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => swap);
        hold.Set();
        run.Loader.BeforeLoad = null;
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
        Assert.Equal(1, run.Loader.DisposedUnused);
        Assert.Null(run.Slot.LastSwap);
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
        while (run.Slot.LastSwap!.FullSpeedFailure is null) await Task.Yield();
        Assert.Equal("no room", run.Slot.LastSwap.FullSpeedFailure);
        Assert.Equal(1, run.Slot.Active.Manifest.Version);
    }

    private static PublishedPolicy Policy(long version) => new("none", new PolicyManifest { FormatVersion = 1, Version = version, Files = [], Probe = [] });

    private sealed class Run : IAsyncDisposable
    {
        private readonly SchedulerHarness _harness = new(slots: 2);

        public Run(MatrixProducts products = MatrixProducts.Direct, TimeProvider? time = null)
        {
            Loader = new FakeLoader(_harness);
            Slot = new PolicySlot(Policy(0), Loader, _harness.Scheduler, products, time ?? TimeProvider.System);
        }

        public FakeLoader Loader { get; }

        public PolicySlot Slot { get; }

        public ValueTask DisposeAsync() => _harness.DisposeAsync();
    }

    private sealed class FakeLoader(SchedulerHarness harness) : IPolicyLoader
    {
        public Action? BeforeLoad { get; set; }

        public Action? BeforeProbe { get; set; }

        public List<bool> Prepacked { get; } = [];

        public int DisposedUnused { get; private set; }

        public long KeyValueBytes => 0;

        public ILoadedPolicy Load(PublishedPolicy policy, bool prepack)
        {
            BeforeLoad?.Invoke();
            Prepacked.Add(prepack);
            return new Loaded(this, harness.NewSession(policy.Manifest.Version));
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
