// Which version the engine serves, and how another one takes its place:
//
//   SwapAsync:  load ──> probe ──> scheduler switches between two steps ──> active
//                  (any failure: the old version goes on serving)             │
//   behind it:                                         load prepacked ──> probe ──> scheduler replaces the session
//
// The first load can leave prepacking out, which makes it ready in milliseconds; the prepacked session of the same
// version is then built behind it. One swap at a time; a swap first waits for the build behind the one before it.
using Sapo.Core.Options;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout.Policies;

/// <summary>The place where the active policy version is leased and exchanged. Borrows the scheduler.</summary>
internal sealed class PolicySlot : IAsyncDisposable
{
    private readonly IPolicyLoader _loader;
    private readonly SlotScheduler _scheduler;
    private readonly EngineOptions _options;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _disposal = new();
    private Task _behind = Task.CompletedTask;
    private PublishedPolicy _active;
    private SwapReport? _lastSwap;
    private int _swapping;

    /// <summary>A slot whose scheduler already decodes <paramref name="active"/>.</summary>
    public PolicySlot(PublishedPolicy active, IPolicyLoader loader, SlotScheduler scheduler, EngineOptions options, TimeProvider time) =>
        (_active, _loader, _scheduler, _options, _time) = (active, loader, scheduler, options, time);

    /// <summary>The version new completions start on.</summary>
    public PublishedPolicy Active
    {
        get
        {
            lock (_gate) return _active;
        }
    }

    /// <summary>The last swap, with what has become known of it since; null before the first.</summary>
    public SwapReport? LastSwap
    {
        get
        {
            lock (_gate) return _lastSwap;
        }
    }

    /// <summary>See <see cref="RolloutEngine.SwapAsync"/>.</summary>
    public async Task<SwapReport> SwapAsync(PublishedPolicy policy, CancellationToken cancel)
    {
        if (policy.Version == Active.Version)
            throw new InvalidOperationException($"Policy {policy.Version} is already being served; publish new weights under a new version.");
        if (Interlocked.Exchange(ref _swapping, 1) == 1) throw new InvalidOperationException("A swap is already under way; await it before the next.");
        try
        {
            var start = _time.GetTimestamp();
            await _behind.ConfigureAwait(false);
            return await SwapAsync(policy, start, cancel).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref _swapping, 0);
        }
    }

    /// <summary>Waits for the build behind the last swap.</summary>
    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _behind.ConfigureAwait(false);
        _disposal.Dispose();
    }

    private async Task<SwapReport> SwapAsync(PublishedPolicy policy, long start, CancellationToken cancel)
    {
        var (loaded, build, probe, difference) = await Task.Run(() => LoadProbed(policy, _options.Prepack == "before", cancel), cancel).ConfigureAwait(false);
        lock (_gate) _lastSwap = new SwapReport(policy.Version, build, probe, difference, ActiveMilliseconds: 0);
        await _scheduler.SwitchAsync(loaded.Activate(), () => Update(report => report with { FirstTokenMilliseconds = Since(start) })).ConfigureAwait(false);
        lock (_gate) _active = policy;
        var done = Update(report => report with { ActiveMilliseconds = Since(start) });
        if (_options.Prepack == "behind") _behind = Task.Run(() => BuildBehindAsync(policy, start), CancellationToken.None);
        return done;
    }

    private (ILoadedPolicy Loaded, double Build, double Probe, double Difference) LoadProbed(PublishedPolicy policy, bool prepack, CancellationToken cancel)
    {
        var start = _time.GetTimestamp();
        var loaded = _loader.Load(policy, prepack);
        try
        {
            var build = Since(start);
            cancel.ThrowIfCancellationRequested();
            var probeStart = _time.GetTimestamp();
            var difference = loaded.Probe(policy.Manifest.Probe);
            cancel.ThrowIfCancellationRequested();
            return (loaded, build, Since(probeStart), difference);
        }
        catch
        {
            loaded.Dispose();
            throw;
        }
    }

    private async Task BuildBehindAsync(PublishedPolicy policy, long start)
    {
        try
        {
            var (loaded, _, _, _) = LoadProbed(policy, prepack: true, _disposal.Token);
            await _scheduler.SwitchAsync(loaded.Activate(), firstStep: null).ConfigureAwait(false);
            Update(report => report with { FullSpeedMilliseconds = Since(start) });
        }
        catch (Exception failure) // the unpacked session goes on serving; the report says why it stays slow
        {
            Update(report => report with { FullSpeedFailure = failure.Message });
        }
    }

    private SwapReport Update(Func<SwapReport, SwapReport> change)
    {
        lock (_gate) return _lastSwap = change(_lastSwap!);
    }

    private double Since(long start) => _time.GetElapsedTime(start).TotalMilliseconds;
}
