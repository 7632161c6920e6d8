using System.Diagnostics;
using Sapo.Core.Options;
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Tests.Policies;

/// <summary>Version switches with real sessions.</summary>
public sealed class PolicySwapTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static readonly EngineOptions Small = new() { Slots = 4, MaxSequenceLength = 64 };
    private static readonly SamplingOptions Sampling = new() { MaxNewTokens = 30, StopTokenIds = [] };

    [Theory]
    [InlineData("before"), InlineData("never"), InlineData("behind")]
    public async Task SwapAsync_NewWeights_SamplesFromThem(string prepack)
    {
        var next = model.Version(1, seed: 2, await ProbeOf(model.Version(1, seed: 2)));
        await using var engine = await Start(Small with { Prepack = prepack });
        var before = await Generate(engine);
        var report = await engine.SwapAsync(next, default);
        var after = await Generate(engine);
        Assert.Equal((new PolicyVersion(1), new PolicyVersion(1)), (engine.ActiveVersion, report.Version));
        Assert.True(report.BuildMilliseconds > 0 && report.ProbeMilliseconds > 0 && report.ActiveMilliseconds >= report.BuildMilliseconds);
        Assert.All(after.Completions, completion => Assert.Equal([new VersionSpan(0, 30, new PolicyVersion(1))], completion.VersionSpans));
        Assert.NotEqual(before.Completions[0].TokenIds, after.Completions[0].TokenIds);
        Assert.True(engine.LastSwap!.FirstTokenMilliseconds > 0);
        while (prepack == "behind" && engine.LastSwap.FullSpeedMilliseconds is null && engine.LastSwap.FullSpeedFailure is null) await Task.Yield();
        Assert.Null(engine.LastSwap.FullSpeedFailure);
        if (prepack == "never") Assert.Null(engine.LastSwap.FullSpeedMilliseconds);
        else Assert.True(engine.LastSwap.FullSpeedMilliseconds >= engine.LastSwap.FirstTokenMilliseconds);
        await using var fresh = await RolloutEngine.StartAsync(next, Small with { Prepack = prepack }, threads: 2, tokenizer: null, default);
        if (prepack != "behind") Assert.Equal(Bits(await Generate(fresh)), Bits(after));
    }

    [Theory]
    [InlineData("drain"), InlineData("inFlight")]
    public async Task SwapAsync_GenAi_SamplesFromTheNewWeights(string swap)
    {
        var next = model.Version(1, seed: 2, await ProbeOf(model.Version(1, seed: 2)));
        await using var engine = await Start(Small with { Session = "genai", Swap = swap, InFlightKeyValues = "recompute" });
        var running = Generate(engine);
        var report = await engine.SwapAsync(next, default);
        Assert.InRange(report.ProbeDifference, 1e-12, 1e-4);
        Assert.All((await Generate(engine)).Completions, completion => Assert.Equal([new VersionSpan(0, 30, new PolicyVersion(1))], completion.VersionSpans));
        Assert.All((await running).Completions, completion => Assert.Equal(30, completion.VersionSpans.Sum(span => span.Count)));
    }

    [Fact]
    public async Task SwapAsync_ProbeDiffers_KeepsTheOldVersionServing()
    {
        var probe = await ProbeOf(model.Policy);
        probe.LogProbs[5] += 0.25f;
        await using var engine = await Start(Small);
        var before = await Generate(engine);
        var error = await Assert.ThrowsAsync<SwapFailedException>(() => engine.SwapAsync(model.Version(1, seed: 1, probe), default));
        Assert.Equal((new PolicyVersion(1), 0, 5), (error.Version, error.Sequence, error.Position));
        Assert.InRange(error.Expected - error.Found, 0.2499, 0.2501);
        Assert.Equal(default, engine.ActiveVersion);
        Assert.Equal(Bits(before), Bits(await Generate(engine)));
    }

    [Fact]
    public async Task SwapAsync_BrokenFolder_KeepsTheOldVersionServing()
    {
        var broken = model.Version(1, seed: 9);
        File.WriteAllText(Path.Combine(broken.Folder, PublishedPolicy.DecodeGraphFile), "no graph");
        await using var engine = await Start(Small);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => engine.SwapAsync(broken, default));
        Assert.Contains(PublishedPolicy.DecodeGraphFile, error.Message, StringComparison.Ordinal);
        Assert.Equal(4, (await Generate(engine)).Completions.Count);
    }

    [Fact]
    public async Task SwapAsync_SameVersionOrTwoAtOnce_IsRefused()
    {
        await using var engine = await Start(Small);
        await Assert.ThrowsAsync<InvalidOperationException>(() => engine.SwapAsync(model.Policy, default));
        var first = engine.SwapAsync(model.Version(1, seed: 2), default);
        await Assert.ThrowsAsync<InvalidOperationException>(() => engine.SwapAsync(model.Version(2, seed: 2), default));
        await first;
    }

    [Fact]
    public async Task SwapAsync_Cancelled_KeepsTheOldVersionServing()
    {
        await using var engine = await Start(Small);
        using var cancel = new CancellationTokenSource();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => engine.SwapAsync(model.Version(1, seed: 2), cancel.Token));
        Assert.Equal(default, engine.ActiveVersion);
        await engine.SwapAsync(model.Version(1, seed: 2), default);
    }

    [Fact]
    public async Task SwapAsync_TwoHundredTimesUnderLoad_KeepsMemoryBounded()
    {
        const int Swaps = 200, Settled = 50;
        const long Allowance = 48L << 20; // 1,000 swaps alone moved it by less than 10 MiB; in a process that ran other tests, returned and reused pages swing further
        await using var engine = await Start(Small);
        using var cancel = new CancellationTokenSource();
        var load = Load(engine, cancel.Token);
        var versions = new[] { model.Version(1, seed: 2), model.Version(2, seed: 3) };
        long settledBytes = 0, settledFiles = 0;
        for (var swap = 1; swap <= Swaps; swap++)
        {
            var next = versions[swap % 2];
            await engine.SwapAsync(next with { Manifest = next.Manifest with { Version = swap } }, default);
            if (swap == Settled) (settledBytes, settledFiles) = (NativeBytes(), OpenFiles());
        }
        var (bytes, files) = (NativeBytes(), OpenFiles());
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => load);
        Assert.Equal(Swaps, engine.Counters.Swaps);
        Assert.InRange(bytes, 0, settledBytes + Allowance);
        Assert.InRange(files, 0, settledFiles + 8);
    }

    private static async Task Load(RolloutEngine engine, CancellationToken cancel)
    {
        for (var id = 0; ; id++) await engine.GenerateAsync(new Prompt { Id = id, TokenIds = [5, 6, 7] }, 4, Sampling, cancel);
    }

    // Resident memory less the managed heap, which the collector grows and shrinks as it likes.
    private static long NativeBytes()
    {
        using var process = Process.GetCurrentProcess();
        return process.WorkingSet64 - GC.GetGCMemoryInfo().TotalCommittedBytes;
    }

    private static long OpenFiles() => OperatingSystem.IsLinux() ? Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount() : 0;

    // What another engine says of some tokens under these weights: log-probs of its own samples.
    private static async Task<ProbeSequence> ProbeOf(PublishedPolicy policy)
    {
        await using var engine = await RolloutEngine.StartAsync(policy, Small, threads: 2, tokenizer: null, default);
        var completion = (await engine.GenerateAsync(new Prompt { Id = 3, TokenIds = [4] }, 1, Sampling, default)).Completions[0];
        return new ProbeSequence([4, .. completion.TokenIds], [0, .. completion.BehaviourLogProbs]);
    }

    private static Task<RolloutGroup> Generate(RolloutEngine engine) => engine.GenerateAsync(new Prompt { Id = 1, TokenIds = [5, 6, 7] }, 4, Sampling, default);

    private static string[] Bits(RolloutGroup group) => [.. group.Completions.Select(completion =>
        string.Join(' ', completion.TokenIds) + " | " + string.Join(' ', completion.BehaviourLogProbs.Select(BitConverter.SingleToUInt32Bits)))];

    private Task<RolloutEngine> Start(EngineOptions options) => RolloutEngine.StartAsync(model.Policy, options, threads: 2, tokenizer: null, default);
}
