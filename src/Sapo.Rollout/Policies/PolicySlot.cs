// Which version the engine serves, and how another one takes its place:
//
//   SwapAsync:  load ──> [ probe ──> switch ] ──> active
//                  (any failure: the old version goes on serving)
//   behind it:  load prepacked ──> [ probe ──> switch ] (same version)
//
// Loading runs beside decoding. What is in brackets runs on the engine's thread between two decode steps: a probe beside decoding
// shares cores and memory with it, and both take several times as long. Decoding stands still for it; the report says how long.
// Where matrices are multiplied as they lie, that is all. ONNX Runtime's products want them reordered: the first load can leave that out,
// which makes it ready in milliseconds; the prepacked session of the same version is then built behind it. One swap at a time; a swap
// first waits for the build behind the one before it.
// Native loads cannot be interrupted: one whose caller gives up is disposed when it ends.
using Sapo.Rollout.Kernels;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout.Policies;

/// <summary>The place where the active policy version is leased and exchanged. Borrows the scheduler and the loader.</summary>
internal sealed class PolicySlot : IAsyncDisposable
{
    /// <summary>How long loading may take, and how long probe and switch together: far beyond any sound one.</summary>
    public static readonly TimeSpan PhaseDeadline = TimeSpan.FromMinutes(10);

    private const string TraceThread = "swap";

    private readonly IPolicyLoader _loader;
    private readonly SlotScheduler _scheduler;
    private readonly MatrixProducts _products;
    private readonly TimeProvider _time;
    private readonly EngineTrace? _trace;
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _disposal = new();
    private Task _swap = Task.CompletedTask, _behind = Task.CompletedTask, _abandoned = Task.CompletedTask;
    private PublishedPolicy _active;
    private Progress? _lastSwap;

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

    /// <summary>The last swap that was made, with what has become known of it since; null before the first.</summary>
    public SwapReport? LastSwap
    {
        get
        {
            lock (_gate) return _lastSwap?.Report;
        }
    }

    /// <summary>See <see cref="RolloutEngine.SwapAsync"/>.</summary>
    public async Task<SwapReport> SwapAsync(PublishedPolicy policy, CancellationToken cancel)
    {
        Task<SwapReport> swap;
        var start = _time.GetTimestamp();
        lock (_gate)
        {
            if (_disposal.IsCancellationRequested) throw Disposed();
            if (policy.Version == _active.Version) throw new InvalidOperationException($"Policy {policy.Version} is already being served; publish new weights under a new version.");
            if (!_swap.IsCompleted) throw new InvalidOperationException("A swap is already under way; await it before the next.");
            _swap = swap = SwapAsync(policy, start, cancel); // does nothing here but begin to load, on another thread
        }
        return await swap.ConfigureAwait(false);
    }

    /// <summary>Gives up the swap under way, and waits for what is still being loaded. The scheduler is disposed after this.</summary>
    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        Task swap;
        lock (_gate) swap = _swap;
        await swap.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _behind.ConfigureAwait(false);
        await _abandoned.ConfigureAwait(false);
        _disposal.Dispose();
    }

    private async Task<SwapReport> SwapAsync(PublishedPolicy policy, long start, CancellationToken cancel)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, _disposal.Token);
        try
        {
            await _behind.WaitAsync(either.Token).ConfigureAwait(false);
            var swap = new Progress(policy.Version);
            var stages = await ActivateAsync(policy, _products == MatrixProducts.Before, () => FirstStepDone(swap, Since(start)), either.Token).ConfigureAwait(false);
            SwapReport done;
            lock (_gate)
            {
                (_active, _lastSwap) = (policy, swap);
                done = Update(swap, report => report with
                {
                    BuildMilliseconds = stages.Load,
                    ProbeMilliseconds = stages.Probe,
                    SwitchMilliseconds = stages.Pause - stages.Probe,
                    PauseMilliseconds = stages.Pause,
                    ActiveMilliseconds = Since(start),
                    ProbeDifference = stages.Mismatch?.MaxAbsolute ?? 0,
                    Mismatch = stages.Mismatch,
                });
            }
            if (_products == MatrixProducts.Behind) _behind = Task.Run(() => BuildBehindAsync(policy, swap, start), CancellationToken.None);
            return done;
        }
        catch (OperationCanceledException) when (_disposal.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            throw Disposed();
        }
    }

    private void FirstStepDone(Progress swap, double milliseconds) => Update(swap, report => report with
    {
        FirstTokenMilliseconds = milliseconds,
        FullSpeedMilliseconds = _products is MatrixProducts.Direct or MatrixProducts.Before ? milliseconds : report.FullSpeedMilliseconds,
    });

    private async Task BuildBehindAsync(PublishedPolicy policy, Progress swap, long start)
    {
        try
        {
            var stages = await ActivateAsync(policy, prepack: true, firstStep: null, _disposal.Token).ConfigureAwait(false);
            Update(swap, report => report with { FullSpeedMilliseconds = Since(start), PauseMilliseconds = report.PauseMilliseconds + stages.Pause });
        }
        catch (Exception failure) // the unpacked session goes on serving; the report says why it stays slow
        {
            Update(swap, report => report with { FullSpeedFailure = failure.Message });
        }
    }

    // Load, probe and switch of one session.
    private async Task<Stages> ActivateAsync(PublishedPolicy policy, bool prepack, Action? firstStep, CancellationToken cancel)
    {
        var (loaded, load) = await LoadAsync(policy, prepack, cancel).ConfigureAwait(false);
        using var timer = new CancellationTokenSource(PhaseDeadline, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, timer.Token);
        var (phase, probing, switching, mismatch) = ("probe", 0.0, 0L, default(LogProbMismatch));
        void Probe() // on the engine's thread
        {
            var start = _time.GetTimestamp();
            mismatch = loaded.Probe(policy.Manifest.Probe);
            (probing, switching) = (Since(start), _time.GetTimestamp());
            _trace?.Add(TraceThread, "probe", start, "version", policy.Version.Value);
            Volatile.Write(ref phase, "switch");
        }
        try
        {
            var pause = await _scheduler.SwitchAsync(loaded.Activate(), Probe, firstStep, either.Token).ConfigureAwait(false);
            _trace?.Add(TraceThread, "switch", switching, "version", policy.Version.Value);
            return new Stages(load, probing, pause.TotalMilliseconds, mismatch);
        }
        catch (OperationCanceledException gaveUp) when (timer.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            throw Late(policy.Version, Volatile.Read(ref phase), gaveUp);
        }
    }

    private async Task<(ILoadedPolicy Loaded, double Milliseconds)> LoadAsync(PublishedPolicy policy, bool prepack, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        var work = Task.Run(
            () =>
            {
                var start = _time.GetTimestamp();
                var loaded = _loader.Load(policy, prepack);
                _trace?.Add(TraceThread, prepack ? "load prepacked" : "load", start, "version", policy.Version.Value);
                return (loaded, Since(start));
            },
            CancellationToken.None);
        try
        {
            return await work.WaitAsync(PhaseDeadline, _time, cancel).ConfigureAwait(false);
        }
        catch (Exception gaveUp) when (!work.IsFaulted && gaveUp is TimeoutException or OperationCanceledException)
        {
            _abandoned = Task.WhenAll(_abandoned, DisposeWhenDoneAsync(work));
            if (gaveUp is TimeoutException) throw Late(policy.Version, "load", gaveUp);
            throw;
        }
    }

    private static TimeoutException Late(PolicyVersion version, string phase, Exception cause) =>
        new($"Activating {version} did not finish its phase '{phase}' within {PhaseDeadline}; the version before it goes on serving.", cause);

    private static ObjectDisposedException Disposed() => new(nameof(RolloutEngine), "The rollout engine was disposed.");

    private static async Task DisposeWhenDoneAsync(Task<(ILoadedPolicy Loaded, double Milliseconds)> work)
    {
        try
        {
            (await work.ConfigureAwait(false)).Loaded.Dispose();
        }
        catch (Exception) // it disposed itself, and its caller has been told of another failure
        {
        }
    }

    private SwapReport Update(Progress swap, Func<SwapReport, SwapReport> change)
    {
        lock (_gate) return swap.Report = change(swap.Report);
    }

    private double Since(long start) => _time.GetElapsedTime(start).TotalMilliseconds;

    /// <summary>What is known of one swap; read and written under the lock.</summary>
    private sealed class Progress(PolicyVersion version)
    {
        public SwapReport Report { get; set; } = new(version, BuildMilliseconds: 0, ProbeMilliseconds: 0, ProbeDifference: 0, ActiveMilliseconds: 0);
    }

    private sealed record Stages(double Load, double Probe, double Pause, LogProbMismatch? Mismatch);
}
