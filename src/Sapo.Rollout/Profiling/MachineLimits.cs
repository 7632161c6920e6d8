using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Profiling;

/// <summary>What this machine's cores can do together, measured: the roof that rollouts are compared with.</summary>
/// <param name="ReadBytesPerSecond">Rate of reading memory far larger than the caches.</param>
/// <param name="FlopsPerSecond">Rate of fused multiply-adds of 32-bit floats in registers, counted as two operations each.</param>
public sealed record MachineLimits(double ReadBytesPerSecond, double FlopsPerSecond)
{
    private const long ReadBytes = 256L << 20; // past every cache, and small enough for any machine that runs a model
    private const int Chains = 8; // independent sums, enough to hide the latency of a fused multiply-add
    private const int Repetitions = 3;

    /// <summary>Measures both, best of a few repetitions; takes about a second.</summary>
    /// <param name="threads">Threads to use together.</param>
    public static unsafe MachineLimits Measure(int threads)
    {
        var memory = (byte*)NativeMemory.AlignedAlloc((nuint)ReadBytes, 64);
        try
        {
            NativeMemory.Fill(memory, (nuint)ReadBytes, 1);
            var perThread = ReadBytes / threads / 64 * 64;
            var start = (nint)memory;
            double read = 0, flops = 0;
            for (var i = 0; i < Repetitions; i++)
            {
                read = Math.Max(read, perThread * threads / Seconds(threads, thread => Read(start + (nint)(thread * perThread), perThread)));
                const long Rounds = 4_000_000;
                flops = Math.Max(flops, 2.0 * Chains * Vector512<float>.Count * Rounds * threads / Seconds(threads, _ => Multiply(Rounds)));
            }
            return new MachineLimits(read, flops);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    private static double Seconds(int threads, Action<int> work)
    {
        var workers = Enumerable.Range(0, threads).Select(thread => new Thread(() => work(thread))).ToArray();
        var start = Stopwatch.GetTimestamp();
        foreach (var worker in workers) worker.Start();
        foreach (var worker in workers) worker.Join();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static unsafe void Read(nint start, long bytes)
    {
        Vector512<int> a = default, b = default, c = default, d = default;
        for (byte* at = (byte*)start, end = at + bytes - 256; at <= end; at += 256)
        {
            a ^= Vector512.Load((int*)at);
            b ^= Vector512.Load((int*)(at + 64));
            c ^= Vector512.Load((int*)(at + 128));
            d ^= Vector512.Load((int*)(at + 192));
        }
        Keep(Vector512.Sum(a ^ b ^ c ^ d));
    }

    private static void Multiply(long rounds)
    {
        var factor = Vector512.Create(0.999999f);
        Vector512<float> a = factor, b = factor, c = factor, d = factor, e = factor, f = factor, g = factor, h = factor;
        for (long i = 0; i < rounds; i++)
        {
            a = Vector512.FusedMultiplyAdd(a, factor, factor);
            b = Vector512.FusedMultiplyAdd(b, factor, factor);
            c = Vector512.FusedMultiplyAdd(c, factor, factor);
            d = Vector512.FusedMultiplyAdd(d, factor, factor);
            e = Vector512.FusedMultiplyAdd(e, factor, factor);
            f = Vector512.FusedMultiplyAdd(f, factor, factor);
            g = Vector512.FusedMultiplyAdd(g, factor, factor);
            h = Vector512.FusedMultiplyAdd(h, factor, factor);
        }
        Keep(Vector512.Sum(a + b + c + d + e + f + g + h));
    }

    // A result that nobody could see would let the compiler drop the work.
    private static void Keep<T>(T value) => GC.KeepAlive(value);
}
