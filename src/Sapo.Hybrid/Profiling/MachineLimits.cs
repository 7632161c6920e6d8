// What this machine can do at best, measured in the same process and with the same threads as the work whose share is stated:
//   read   every element of memory larger than the caches is summed, each thread over memory of its own
//   copy   the same memory is copied; bytes read and bytes written are both counted
//   matrix products of square Float32 matrices by libtorch, whose BLAS the learner uses
// The fastest of several passes counts: whatever else runs on the machine can only slow a pass down.
using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using Sapo.Core.Machine;
using Sapo.Learner.Compute;
using TorchSharp;

namespace Sapo.Hybrid.Profiling;

/// <summary>Measured limits of a machine.</summary>
/// <param name="Threads">Threads that read and copied; libtorch used <paramref name="MatrixThreads"/>.</param>
/// <param name="MatrixThreads">Threads of the matrix products.</param>
/// <param name="ReadBytesPerSecond">Reading from memory.</param>
/// <param name="CopyBytesPerSecond">Copying in memory, bytes read plus bytes written.</param>
/// <param name="MatrixFlopsPerSecond">Float32 matrix products, a multiplication and an addition counted as two.</param>
public sealed record MachineLimits(int Threads, int MatrixThreads, double ReadBytesPerSecond, double CopyBytesPerSecond, double MatrixFlopsPerSecond)
{
    private const long DefaultBytes = 512L << 20; // beyond the last cache of server processors
    private const int DefaultMatrixSize = 1536, Passes = 5;

    /// <summary>Measures; takes about two seconds on two cores.</summary>
    /// <param name="threads">Threads that read and copy, at least 1.</param>
    /// <param name="bytes">Memory that is read, all threads together; half of it is copied to the other half.</param>
    /// <param name="matrixSize">Rows and columns of the matrices.</param>
    public static MachineLimits Measure(int threads, long bytes = DefaultBytes, int matrixSize = DefaultMatrixSize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        NativeEnvironment.Prepare();
        using var scope = torch.NewDisposeScope();
        var lanes = Enumerable.Range(0, threads).Select(_ => torch.ones([bytes / threads / sizeof(float)])).ToArray();
        var laneBytes = lanes.Sum(lane => lane.numel() * sizeof(float));
        var read = Fastest(() => Together(lanes, lane => Sum(lane)));
        var copy = Fastest(() => Together(lanes, Copy));
        return new MachineLimits(threads, ComputeThreads.Shared.Count, laneBytes / read, laneBytes / copy, MatrixRate(matrixSize));
    }

    private static double MatrixRate(int size)
    {
        using var scope = torch.NewDisposeScope();
        var (left, right, threads) = (torch.ones(size, size), torch.ones(size, size), ComputeThreads.Shared);
        var seconds = Fastest(() => threads.ForEach(threads.Count, _ => left.mm(right).Dispose())); // one on every core, as the learner's parts are
        return 2.0 * size * size * size * threads.Count / seconds;
    }

    /// <summary>Seconds of the fastest pass; one before them, which touches the memory, does not count.</summary>
    private static double Fastest(Action pass)
    {
        pass();
        var best = double.PositiveInfinity;
        for (var index = 0; index < Passes; index++)
        {
            var start = Stopwatch.GetTimestamp();
            pass();
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return best;
    }

    private static void Together(torch.Tensor[] lanes, Action<torch.Tensor> work)
    {
        if (lanes.Length == 1) work(lanes[0]);
        else Parallel.ForEach(lanes, new ParallelOptions { MaxDegreeOfParallelism = lanes.Length }, work);
    }

    private static void Copy(torch.Tensor lane)
    {
        var bytes = lane.bytes;
        bytes[..(bytes.Length / 2)].CopyTo(bytes[(bytes.Length - bytes.Length / 2)..]);
    }

    // Four sums side by side: one alone would wait for its own additions instead of for the memory.
    private static void Sum(torch.Tensor lane)
    {
        var values = MemoryMarshal.Cast<byte, Vector<float>>(lane.bytes);
        Vector<float> first = default, second = default, third = default, fourth = default;
        for (var index = 0; index + 3 < values.Length; index += 4)
        {
            first += values[index];
            second += values[index + 1];
            third += values[index + 2];
            fourth += values[index + 3];
        }
        if (float.IsNaN(Vector.Sum(first + second + third + fourth))) throw new InvalidOperationException("A sum of ones is not a number: this memory is broken.");
    }
}
