using System.Collections.Concurrent;

namespace Sapo.Hybrid;

/// <summary>
/// One thread on which all of the learner's work runs, in order. OpenMP keeps a team of workers per calling thread, and a
/// tensor scope belongs to the thread that opened it, so a step must not wander over the thread pool.
/// </summary>
public sealed class DeviceThread : IDisposable
{
    private readonly BlockingCollection<Action> _work = [];
    private readonly ConcurrentStack<IDisposable> _owned = [];
    private readonly Thread _thread;

    /// <summary>Starts the thread.</summary>
    /// <param name="name">Shown by debuggers.</param>
    public DeviceThread(string name)
    {
        _thread = new Thread(() =>
        {
            foreach (var action in _work.GetConsumingEnumerable()) action();
        })
        { Name = name, IsBackground = true };
        _thread.Start();
    }

    /// <summary>Runs <paramref name="work"/> after everything queued before it; its exception is the task's.</summary>
    public Task<T> RunAsync<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception failure)
            {
                done.SetException(failure);
            }
        });
        return done.Task;
    }

    /// <summary>Takes over a resource that is used on this thread: it is disposed of here, after everything that is queued.</summary>
    public T Own<T>(T resource) where T : IDisposable
    {
        _owned.Push(resource);
        return resource;
    }

    /// <summary>
    /// Finishes what is queued, then what is owned. A thread that is stuck in native code is given up after a moment;
    /// it ends with the process.
    /// </summary>
    public void Dispose()
    {
        _work.Add(() =>
        {
            while (_owned.TryPop(out var resource)) resource.Dispose();
        });
        _work.CompleteAdding();
        if (_thread.Join(TimeSpan.FromSeconds(10))) _work.Dispose();
    }
}
