// Which version the engine serves, and how another one takes its place:
//
//   SwapAsync:  load ──> probe ──> switch (the scheduler, between two steps) ──> active
//                  (any failure: the old version goes on serving)                 │
//   behind it:                                             load prepacked ──> probe ──> switch (same version)
//
// Where matrices are multiplied as they lie, that is all. ONNX Runtime's products want them reordered: the first load can leave that out, which makes it ready in milliseconds; the prepacked session of the same
// version is then built behind it. One swap at a time; a swap first waits for the build behind the one before it.
// Native loads cannot be interrupted: one whose caller gives up is disposed when it ends.
using Sapo.Rollout.Kernels;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout.Policies;

/// <summary>The place where the active policy version is leased and exchanged. Borrows the scheduler and the loader.</summary>
internal sealed class PolicySlot : IAsyncDisposable
{
    /// <summary>How long loading with its probe, and the switch, may each take: far beyond any sound one.</summary>
    public static readonly TimeSpan PhaseDeadline = TimeSpan.FromMinutes(10);

    private const string TraceThread = "swap";

    private readonly IPolicyLoader _loader;
    private readonly SlotScheduler _scheduler;
    private readonly MatrixProducts _products;
    private readonly TimeProvider _time;
    private readonly EngineTrace? _trace;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _disposal = new();
    private Task _behind = Task.CompletedTask, _abandoned = Task.CompletedTask;
    private PublishedPolicy _active;
    private SwapReport? _lastSwap;
    private int _swapping;

    /// <summary>A slot whose scheduler already decodes <paramref name="active"/>.</summary>
    public PolicySlot(PublishedPolicy active, IPolicyLoader loader, SlotScheduler scheduler, MatrixProducts products, TimeProvider time, EngineTrace? trace = null) =>
        (_active, _loader, _scheduler, _products, _time, _trace) = (active, loader, scheduler, products, time, trace);

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

    /// <summary>Waits for what is still being built.</summary>
    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _behind.ConfigureAwait(false);
        await _abandoned.ConfigureAwait(false);
        _disposal.Dispose();
    }

    private async Task<SwapReport> SwapAsync(PublishedPolicy policy, long start, CancellationToken cancel)
    {
        var probed = await LoadAsync(policy, _products == MatrixProducts.Before, cancel).ConfigureAwait(false);
        lock (_gate) _lastSwap = new SwapReport(policy.Version, probed.BuildMilliseconds, probed.ProbeMilliseconds, probed.Mismatch?.MaxAbsolute ?? 0, ActiveMilliseconds: 0) { Mismatch = probed.Mismatch };
        await SwitchAsync(probed, () => FirstStepDone(Since(start)), cancel).ConfigureAwait(false);
        lock (_gate) _active = policy;
        var done = Update(report => report with { ActiveMilliseconds = Since(start) });
        if (_products == MatrixProducts.Behind) _behind = Task.Run(() => BuildBehindAsync(policy, start), CancellationToken.None);
        return done;
    }

    private void FirstStepDone(double milliseconds) => Update(report => report with
    {
        FirstTokenMilliseconds = milliseconds,
        FullSpeedMilliseconds = _products is MatrixProducts.Direct or MatrixProducts.Before ? milliseconds : report.FullSpeedMilliseconds,
    });

    private async Task BuildBehindAsync(PublishedPolicy policy, long start)
    {
        try
        {
            var probed = await LoadAsync(policy, prepack: true, _disposal.Token).ConfigureAwait(false);
            await SwitchAsync(probed, firstStep: null, _disposal.Token).ConfigureAwait(false);
            Update(report => report with { FullSpeedMilliseconds = Since(start) });
        }
        catch (Exception failure) // the unpacked session goes on serving; the report says why it stays slow
        {
            Update(report => report with { FullSpeedFailure = failure.Message });
        }
    }

    private async Task<ProbedPolicy> LoadAsync(PublishedPolicy policy, bool prepack, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var phase = "load";
        var work = Task.Run(
            () =>
            {
                var start = _time.GetTimestamp();
                var loaded = _loader.Load(policy, prepack);
                try
                {
                    var build = Since(start);
                    _trace?.Add(TraceThread, prepack ? "load prepacked" : "load", start, "version", policy.Version.Value);
                    Volatile.Write(ref phase, "probe");
                    var probing = _time.GetTimestamp();
                    var mismatch = loaded.Probe(policy.Manifest.Probe);
                    _trace?.Add(TraceThread, "probe", probing, "version", policy.Version.Value);
                    return new ProbedPolicy(loaded, policy.Version, build, Since(start) - build, mismatch);
                }
                catch
                {
                    loaded.Dispose();
                    throw;
                }
            },
            CancellationToken.None);
        try
        {
            return await work.WaitAsync(PhaseDeadline, _time, cancel).ConfigureAwait(false);
        }
        catch (Exception gaveUp) when (!work.IsCompleted && gaveUp is TimeoutException or OperationCanceledException)
        {
            _abandoned = Task.WhenAll(_abandoned, DisposeWhenDoneAsync(work));
            if (gaveUp is TimeoutException) throw Late(policy.Version, Volatile.Read(ref phase), gaveUp);
            throw;
        }
    }

    private async Task SwitchAsync(ProbedPolicy probed, Action? firstStep, CancellationToken cancel)
    {
        var start = _time.GetTimestamp();
        using var timer = new CancellationTokenSource(PhaseDeadline, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, timer.Token);
        try
        {
            await _scheduler.SwitchAsync(probed.Loaded.Activate(), firstStep, either.Token).ConfigureAwait(false);
            _trace?.Add(TraceThread, "switch", start, "version", probed.Version.Value);
        }
        catch (OperationCanceledException gaveUp) when (timer.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            throw Late(probed.Version, "switch", gaveUp);
        }
    }

    private static TimeoutException Late(PolicyVersion version, string phase, Exception cause) =>
        new($"Activating {version} did not finish its phase '{phase}' within {PhaseDeadline}; the version before it goes on serving.", cause);

    private static async Task DisposeWhenDoneAsync(Task<ProbedPolicy> work)
    {
        try
        {
            (await work.ConfigureAwait(false)).Loaded.Dispose();
        }
        catch (Exception) // it disposed itself, and its caller has been told of another failure
        {
        }
    }

    private SwapReport Update(Func<SwapReport, SwapReport> change)
    {
        lock (_gate) return _lastSwap = change(_lastSwap!);
    }

    private double Since(long start) => _time.GetElapsedTime(start).TotalMilliseconds;

    private sealed record ProbedPolicy(ILoadedPolicy Loaded, PolicyVersion Version, double BuildMilliseconds, double ProbeMilliseconds, LogProbMismatch? Mismatch);
}
