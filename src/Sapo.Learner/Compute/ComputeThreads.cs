// The learner's cores. libtorch and its BLAS compute with one thread each, and an operation that is worth it is cut here into
// parts that do not touch each other's results:
//
//   ForEach(parts, work):   the caller and the threads take parts until none is left -> the caller returns
//
// One set of threads instead of three (OpenMP's, the BLAS's, ours): nothing waits busily for work while another set has it, small
// operations start none, and a part may be a whole chain of operations. Which thread takes a part changes no result.
using System.Runtime.ExceptionServices;
using static TorchSharp.torch;

namespace Sapo.Learner.Compute;

/// <summary>Threads that share the parts of one operation. Any number of callers; one that finds them busy computes its parts itself.</summary>
public sealed class ComputeThreads : IDisposable
{
    /// <summary>How often a thread looks for work before it sleeps: about a tenth of a millisecond, longer than the gaps within a step.</summary>
    private const int Looks = 200;

    /// <summary>Bytes of a block: a chain reads and writes a few tensors of that size, which together fit the second cache of a core.</summary>
    private const long CacheBytes = 256 << 10;

    private static readonly Lazy<ComputeThreads> OfProcess = new(() => new ComputeThreads(get_num_threads()));

    private readonly Lock _oneJob = new();
    private readonly ManualResetEventSlim _done = new(initialState: false, Looks);
    private readonly Helper[] _helpers;

    /// <summary>Starts <paramref name="count"/> - 1 threads; the caller is one more. libtorch computes with one thread from now on.</summary>
    internal ComputeThreads(int count)
    {
        Count = Math.Max(1, count);
        set_num_threads(1);
        _helpers = [.. Enumerable.Range(1, Count - 1).Select(_ => new Helper())];
    }

    /// <summary>The process's: as many as libtorch has when they are first asked for, which OMP_NUM_THREADS says.</summary>
    public static ComputeThreads Shared => OfProcess.Value;

    /// <summary>Threads that compute at once, the caller included.</summary>
    public int Count { get; }

    /// <summary>Runs <paramref name="work"/> for each part, 0 to <paramref name="parts"/> - 1, and returns when all are done; the first failure is thrown.</summary>
    /// <param name="parts">Number of parts.</param>
    /// <param name="work">Computes one part, on any thread.</param>
    public void ForEach(int parts, Action<int> work)
    {
        if (parts > 1 && Count > 1 && _oneJob.TryEnter())
        {
            try
            {
                _done.Reset();
                Share(new Job(parts, work, _done));
            }
            finally
            {
                _oneJob.Exit();
            }
        }
        else
        {
            for (var part = 0; part < parts; part++) work(part);
        }
    }

    /// <summary>Cuts a length into ranges of like size, as many as there are threads but none shorter than <paramref name="least"/>, and runs the work on each.</summary>
    /// <param name="length">What is cut, from 0.</param>
    /// <param name="least">Elements of a range that are worth a thread, at least 1.</param>
    /// <param name="work">Computes a range: its first element and their number.</param>
    public void ForRanges(long length, long least, Action<long, long> work)
    {
        var parts = (int)Math.Clamp(length / least, 1, Count);
        ForEach(parts, part =>
        {
            var first = part * length / parts;
            work(first, (part + 1) * length / parts - first);
        });
    }

    /// <summary>
    /// Cuts the rows of a tensor into blocks that stay in a core's cache through a chain of small operations, and runs the chain on
    /// each. On another device all rows are one block: every operation there is a launch of its own.
    /// </summary>
    /// <param name="rows">The tensor that is worked on: its first dimension is cut.</param>
    /// <param name="work">Computes a block: its first row, the number of its rows, and which block it is.</param>
    internal void ForBlocks(Tensor rows, Action<long, long, int> work)
    {
        var (count, blocks) = (rows.shape[0], BlocksOf(rows));
        ForEach(blocks, block =>
        {
            using var scope = NewDisposeScope();
            var first = block * count / blocks;
            work(first, (block + 1) * count / blocks - first, block);
        });
    }

    /// <summary>Number of blocks that <see cref="ForBlocks"/> cuts a tensor into: a matter of its shape, so that sums over blocks are too.</summary>
    internal static int BlocksOf(Tensor rows)
    {
        if (rows.device_type != TorchSharp.DeviceType.CPU) return 1;
        return (int)Math.Clamp((rows.numel() * rows.ElementSize + CacheBytes - 1) / CacheBytes, 1, Math.Max(1, rows.shape[0]));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var helper in _helpers) helper.Dispose();
        _done.Dispose();
    }

    private void Share(Job job)
    {
        foreach (var helper in _helpers) helper.Give(job);
        job.Take();
        job.Wait();
    }

    /// <summary>The parts of one operation, taken one by one by whoever is free.</summary>
    private sealed class Job(int parts, Action<int> work, ManualResetEventSlim done)
    {
        private int _taken, _finished;
        private Exception? _failure;

        public void Take()
        {
            for (var part = Interlocked.Increment(ref _taken) - 1; part < parts; part = Interlocked.Increment(ref _taken) - 1)
            {
                try
                {
                    work(part);
                }
                catch (Exception failure) // thrown again by Wait, on the caller's thread
                {
                    Interlocked.CompareExchange(ref _failure, failure, null);
                }
                if (Interlocked.Increment(ref _finished) == parts) done.Set();
            }
        }

        public void Wait()
        {
            done.Wait();
            if (_failure is not null) ExceptionDispatchInfo.Throw(_failure);
        }
    }

    /// <summary>One thread, asleep while there is nothing to do.</summary>
    private sealed class Helper : IDisposable
    {
        private readonly ManualResetEventSlim _given = new(initialState: false, Looks);
        private volatile Job? _job;
        private volatile bool _ended;

        public Helper() => new Thread(Run) { IsBackground = true, Name = "sapo learner" }.Start();

        public void Give(Job job)
        {
            _job = job;
            _given.Set();
        }

        public void Dispose()
        {
            _ended = true;
            _given.Set();
        }

        private void Run()
        {
            set_num_threads(1); // BLAS libraries that count per thread
            while (!_ended)
            {
                _given.Wait();
                _given.Reset();
                _job?.Take();
            }
            _given.Dispose();
        }
    }
}
