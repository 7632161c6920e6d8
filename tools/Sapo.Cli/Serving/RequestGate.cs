namespace Sapo.Cli.Serving;

/// <summary>Counts the requests under way and, once closed, lets no more in. All members may be called from any thread.</summary>
internal sealed class RequestGate
{
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _inside;

    /// <summary>Whether new requests are refused.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>Lets a request in, unless the gate is closed; each one let in leaves once.</summary>
    public bool TryEnter()
    {
        lock (_lock)
        {
            if (!IsClosed) _inside++;
            return !IsClosed;
        }
    }

    /// <summary>A request has ended.</summary>
    public void Leave()
    {
        lock (_lock)
            if (--_inside == 0 && IsClosed) _empty.TrySetResult();
    }

    /// <summary>Closes the gate.</summary>
    /// <returns>Completes when the last request has left.</returns>
    public Task CloseAsync()
    {
        lock (_lock)
        {
            IsClosed = true;
            if (_inside == 0) _empty.TrySetResult();
            return _empty.Task;
        }
    }
}
