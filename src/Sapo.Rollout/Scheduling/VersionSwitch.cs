using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>
/// A session on its way to becoming the active one. The engine's thread probes and installs it between two steps; its caller
/// may withdraw it meanwhile. Owns the session until it is installed.
/// </summary>
/// <param name="session">The session.</param>
/// <param name="probe">Refuses the session by throwing; called once, on the engine's thread. Null: there is nothing to check.</param>
/// <param name="firstStep">Called once, on the engine's thread, after the session's first decode step.</param>
/// <param name="time">The clock.</param>
internal sealed class VersionSwitch(IDecodeSession session, Action? probe, Action? firstStep, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource<TimeSpan> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Action? _probe = probe;
    private TimeSpan _pause;

    /// <summary>Completes with the switch, its failure or its withdrawal; its value is how long the engine's thread worked on it instead of decoding.</summary>
    public Task<TimeSpan> Done => _done.Task;

    /// <summary>Lets the caller go; the session is disposed where it is found. Nothing happens once the switch is made.</summary>
    public void Withdraw(CancellationToken cancel)
    {
        lock (_gate) _done.TrySetCanceled(cancel); // not while it is being made: made or withdrawn, never both
    }

    /// <summary>Probes the session if that was not done, and installs it if it was not withdrawn.</summary>
    /// <param name="batch">Where it is installed.</param>
    /// <param name="count">Called before the caller hears of it.</param>
    /// <returns>False when it has to wait.</returns>
    public bool TryMake(ContinuousBatch batch, Action count)
    {
        var (start, named) = (time.GetTimestamp(), batch.Counts.NamedSeconds);
        var refusal = Probe(); // outside the lock: a caller that gives up does not wait for it
        lock (_gate)
        {
            var isOver = refusal is not null || _done.Task.IsCompleted;
            var isMade = !isOver && batch.TrySwitch(session, firstStep);
            var elapsed = time.GetElapsedTime(start);
            _pause += elapsed;
            batch.Counts.SwapSeconds += elapsed.TotalSeconds - (batch.Counts.NamedSeconds - named);
            if (!isOver && !isMade) return false;
            count();
            if (isOver) session.Dispose();
            if (refusal is not null) _done.TrySetException(refusal);
            else _done.TrySetResult(_pause);
            return true;
        }
    }

    /// <summary>Gives it up for a reason of the engine's.</summary>
    public void Fail(Exception cause)
    {
        session.Dispose();
        _done.TrySetException(cause);
    }

    private Exception? Probe()
    {
        if (_probe is not { } probe || _done.Task.IsCompleted) return null;
        _probe = null;
        try
        {
            probe();
            return null;
        }
        catch (Exception refusal) // whatever it is: the version before it goes on serving
        {
            return refusal;
        }
    }
}
