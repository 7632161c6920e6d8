// The engine's thread. Callers put requests into a bounded channel and version switches into a queue; between two decode
// steps the thread looks at both, and no other thread ever touches sessions, rows or keys and values:
//
//   GenerateAsync ──channel──> line of groups ──> ContinuousBatch: admit, step ──> finished completions ──> callers
//   SwitchAsync ──commands──────────────────────────^
//
// One turn of the loop: 1. rows whose caller has gone are freed; 2. switches, each with its probe, and a step if there was one;
// 3. prompts are computed and free slots filled, first come first served; 4. one decode step. With nothing to do the thread
// sleeps until it is woken.
using System.Collections.Concurrent;
using System.Threading.Channels;
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>What scheduling depends on.</summary>
/// <param name="Slots">Rows that decode.</param>
/// <param name="PromptRows">Rows beyond the slots in which prompts are computed and kept.</param>
/// <param name="PrefillChunk">Most prompt tokens computed between two decode steps.</param>
/// <param name="SwitchInFlight">Whether running completions go on under a new version; they drain otherwise.</param>
/// <param name="RecomputeInFlight">Whether their keys and values are then computed anew.</param>
/// <param name="TextDecoder">Makes a decoder of one completion's text, for stop strings; null where there is no tokenizer.</param>
internal sealed record SchedulerSettings(
    int Slots, int PromptRows, int PrefillChunk, bool SwitchInFlight, bool RecomputeInFlight, Func<Func<int, string>>? TextDecoder);

/// <summary>Runs a <see cref="ContinuousBatch"/> on a thread of its own. Owns the sessions it is given, borrows the row buffers.</summary>
internal sealed class SlotScheduler : IAsyncDisposable
{
    private readonly ContinuousBatch _batch;
    private readonly TimeProvider _time;
    private readonly Channel<GroupTask> _requests;
    private readonly ConcurrentQueue<VersionSwitch> _switches = new();
    private readonly ManualResetEventSlim _wake = new();
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Func<GroupTask?> _next;
    private readonly Lock _countsGate = new();
    private SchedulerCounts _published;
    private Exception? _failure;
    private volatile bool _stopping;

    /// <summary>Starts the thread.</summary>
    public SlotScheduler(IDecodeSession session, RowBuffers rows, SchedulerSettings settings, TimeProvider time, EngineTrace? trace = null)
    {
        _time = time;
        _batch = new ContinuousBatch(session, rows, settings, time, trace);
        _requests = Channel.CreateBounded<GroupTask>(2 * settings.Slots); // full: callers wait
        _next = NextInLine;
        new Thread(Run) { IsBackground = true, Name = "Sapo rollout" }.Start();
    }

    /// <summary>The counts after the last step.</summary>
    public SchedulerCounts Counts
    {
        get
        {
            lock (_countsGate) return _published;
        }
    }

    /// <summary>Queues a request that has been checked; waits while the line is full.</summary>
    /// <param name="request">The request.</param>
    /// <param name="stopTokenIds">Ids that end a completion.</param>
    /// <param name="maxNewTokens">Most tokens per completion.</param>
    /// <param name="cancel">Frees the group's slots.</param>
    /// <exception cref="RolloutException">The engine's thread has failed.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public async Task<RolloutGroup> GenerateAsync(GenerationRequest request, int[] stopTokenIds, int maxNewTokens, CancellationToken cancel)
    {
        var task = new GroupTask(request, stopTokenIds, maxNewTokens, _wake.Set, cancel);
        try
        {
            await _requests.Writer.WriteAsync(task, cancel).ConfigureAwait(false);
            _wake.Set();
        }
        catch (ChannelClosedException)
        {
            task.Fail(EndCause());
        }
        return await task.Result.ConfigureAwait(false);
    }

    /// <summary>
    /// Probes and installs a session between two steps, on the engine's thread: beside decoding, both would take several times as long.
    /// It belongs to the scheduler from this call on; where the probe refuses it, the session before it goes on.
    /// </summary>
    /// <param name="session">Of another version: new completions start on it. Of the active version: it takes the old one's place.</param>
    /// <param name="probe">Refuses the session by throwing; called once, also where the switch then has to wait. Null for none.</param>
    /// <param name="firstStep">Called once, on the engine's thread, after the session's first decode step.</param>
    /// <param name="cancel">Withdraws the session while it waits; a probe that has begun is finished without its caller.</param>
    /// <returns>Completes when the session is the active one, with the time decoding stood still for it; waits while an older version still drains.</returns>
    public async Task<TimeSpan> SwitchAsync(IDecodeSession session, Action? probe, Action? firstStep, CancellationToken cancel)
    {
        var change = new VersionSwitch(session, probe, firstStep, _time);
        _switches.Enqueue(change);
        _wake.Set();
        if (_stopped.Task.IsCompleted) FailSwitches();
        using (cancel.Register(() =>
        {
            change.Withdraw(cancel);
            _wake.Set();
        })) return await change.Done.ConfigureAwait(false);
    }

    /// <summary>Fails what waits or runs with <see cref="ObjectDisposedException"/>, ends the thread, disposes the sessions.</summary>
    public async ValueTask DisposeAsync()
    {
        _stopping = true;
        _wake.Set();
        await _stopped.Task.ConfigureAwait(false);
        _wake.Dispose();
    }

    private void Run()
    {
        try
        {
            while (!_stopping) Turn();
        }
        catch (Exception failure)
        {
            _failure = failure as RolloutException ?? new RolloutException($"The rollout engine stopped: {failure.Message}", failure);
        }
        _requests.Writer.TryComplete();
        _batch.FailAll(EndCause());
        while (_requests.Reader.TryRead(out var queued)) queued.Fail(EndCause());
        _batch.Dispose();
        FailSwitches();
        _stopped.TrySetResult();
        FailSwitches(); // what was queued in between
    }

    private void Turn()
    {
        ref var counts = ref _batch.Counts;
        var start = _time.GetTimestamp();
        var named = counts.NamedSeconds;
        _batch.FreeAbandoned();
        var worked = MakeSwitches() && _batch.Step(); // before prompts are computed anew: running completions do not wait for that
        worked |= _batch.Admit(_next);
        worked |= _batch.Step();
        if (worked) _batch.TurnDone(start);
        if (worked) counts.HostSeconds += _time.GetElapsedTime(start).TotalSeconds - (counts.NamedSeconds - named);
        Publish();
        _batch.Deliver(); // after the counts: who has a group finds it counted
        _batch.DisposeRetired();
        if (worked) return;
        _wake.Wait();
        _wake.Reset(); // before the queues are looked at again: nothing that was queued with a wake-up is missed
    }

    private bool MakeSwitches()
    {
        var swaps = _batch.Counts.Swaps;
        while (!_stopping && _switches.TryPeek(out var change) && change.TryMake(_batch, Publish)) _switches.TryDequeue(out _);
        return _batch.Counts.Swaps > swaps;
    }

    private void Publish()
    {
        lock (_countsGate) _published = _batch.Counts;
    }

    private GroupTask? NextInLine() => _requests.Reader.TryRead(out var next) ? next : null;

    private void FailSwitches()
    {
        while (_switches.TryDequeue(out var change)) change.Fail(EndCause());
    }

    private Exception EndCause() => _failure ?? new ObjectDisposedException(nameof(RolloutEngine), "The rollout engine was disposed.");
}
