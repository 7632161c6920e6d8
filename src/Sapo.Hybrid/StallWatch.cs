using Sapo.Rollout;

namespace Sapo.Hybrid;

/// <summary>A stage made no progress for the run's stall timeout.</summary>
public sealed class StalledException(string stage, TimeSpan timeout)
    : Exception(
        $"The stage \"{stage}\" has made no progress for {timeout.TotalSeconds:0.#} s (stallTimeoutSeconds). "
        + "The run stops; everything up to its last checkpoint is kept.")
{
    /// <summary>The stage's name.</summary>
    public string Stage { get; } = stage;
}

/// <summary>Runs the stages of a step: measures each, and fails the run with the stage's name when one stands still.</summary>
public sealed class StallWatch
{
    private readonly TimeSpan _timeout;
    private readonly TimeProvider _time;
    private readonly EngineTrace? _trace;
    private readonly Dictionary<string, double> _seconds = new(StringComparer.Ordinal);

    /// <summary>A watch over one run.</summary>
    /// <param name="timeout">How long a stage may stand still.</param>
    /// <param name="time">The clock.</param>
    /// <param name="trace">Where each stage is noted too, or null.</param>
    public StallWatch(TimeSpan timeout, TimeProvider time, EngineTrace? trace = null) => (_timeout, _time, _trace) = (timeout, time, trace);

    /// <summary>Seconds per stage since the last call, in order of their first run; starts the next account.</summary>
    public IReadOnlyDictionary<string, double> TakeSeconds()
    {
        var taken = new Dictionary<string, double>(_seconds, StringComparer.Ordinal);
        _seconds.Clear();
        return taken;
    }

    /// <summary>Runs a stage to its end.</summary>
    /// <param name="stage">Named in the error and in the times.</param>
    /// <param name="work">The stage; its token is cancelled when it stalls or <paramref name="cancel"/> is.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="progress">A number that changes whenever the stage gets on, and the name of what it is waiting for;
    /// null: the stage must end within the timeout.</param>
    /// <exception cref="StalledException">Nothing moved for the timeout (noticed after at most twice that time).</exception>
    public async Task<T> RunAsync<T>(
        string stage, Func<CancellationToken, Task<T>> work, CancellationToken cancel, Func<(long Moves, string Stage)>? progress = null)
    {
        var started = _time.GetTimestamp();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var task = work(stop.Token);
        var before = progress?.Invoke();
        while (!await EndsInTimeAsync(task, stop.Token).ConfigureAwait(false))
        {
            var now = progress?.Invoke();
            if (now is { } moved && before is { } old && moved.Moves != old.Moves)
            {
                before = now;
                continue;
            }
            await stop.CancelAsync().ConfigureAwait(false);
            await ObserveAsync(task).ConfigureAwait(false);
            throw new StalledException(now?.Stage ?? stage, _timeout);
        }
        var result = await task.ConfigureAwait(false);
        _trace?.Add("run", stage, started);
        _seconds[stage] = _seconds.GetValueOrDefault(stage) + _time.GetElapsedTime(started).TotalSeconds;
        return result;
    }

    private async Task<bool> EndsInTimeAsync(Task task, CancellationToken stop)
    {
        if (task.IsCompleted) return true;
        using var delayStop = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var delay = Task.Delay(_timeout, _time, delayStop.Token);
        await Task.WhenAny(task, delay).ConfigureAwait(false);
        if (delay.IsCompletedSuccessfully) return task.IsCompleted;
        await delayStop.CancelAsync().ConfigureAwait(false);
        return true; // ended, or cancelled by the caller: awaiting it gives the outcome
    }

    /// <summary>
    /// A stalled stage gets one more timeout to react to its cancellation; one stuck in native code never will, and the
    /// process ends without it.
    /// </summary>
    private async Task ObserveAsync(Task task)
    {
        await Task.WhenAny(task, Task.Delay(_timeout, _time, CancellationToken.None)).ConfigureAwait(false);
        _ = task.Exception; // observed: the stall is what is reported
    }
}
