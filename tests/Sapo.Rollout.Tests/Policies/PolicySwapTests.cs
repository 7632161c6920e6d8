using System.Diagnostics;
using Sapo.Core.Options;
using Sapo.Testing;
using Xunit.Abstractions;

namespace Sapo.Rollout.Tests.Policies;

/// <summary>Version switches with real sessions.</summary>
public sealed class PolicySwapTests(TinyModel model, ITestOutputHelper output) : IClassFixture<TinyModel>
{
    private static readonly EngineOptions Small = new() { Slots = 4, MaxSequenceLength = 64 };
    private static readonly SamplingOptions Sampling = new() { MaxNewTokens = 30, StopTokenIds = [] };

    [Theory]
    [InlineData("direct"), InlineData("before"), InlineData("never"), InlineData("behind")]
    public async Task SwapAsync_NewWeights_SamplesFromThem(string prepack)
    {
        var next = model.Version(1, seed: 2, await ProbeOf(model.Version(1, seed: 2)));
        await using var engine = await Start(Small with { Prepack = prepack });
        var before = await Generate(engine);
        var report = await engine.SwapAsync(next, default);
        var after = await Generate(engine);
        Assert.Equal((new PolicyVersion(1), new PolicyVersion(1)), (engine.ActiveVersion, report.Version));
        Assert.True(report.BuildMilliseconds > 0 && report.ProbeMilliseconds > 0 && report.ActiveMilliseconds >= report.BuildMilliseconds + report.PauseMilliseconds);
        Assert.True(report.SwitchMilliseconds >= 0 && report.PauseMilliseconds >= report.ProbeMilliseconds);
        Assert.All(after.Completions, completion => Assert.Equal([new VersionSpan(0, 30, new PolicyVersion(1))], completion.VersionSpans));
        Assert.NotEqual(before.Completions[0].TokenIds, after.Completions[0].TokenIds);
        Assert.True(engine.LastSwap!.FirstTokenMilliseconds > 0);
        if (prepack == "behind") await Waiting.UntilAsync(() => engine.LastSwap is { FullSpeedMilliseconds: not null } or { FullSpeedFailure: not null }, () => "the end of the swap");
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

    [Theory]
    [InlineData("ort", "direct", "inFlight", "recompute"), InlineData("ort", "direct", "drain", "keep"), InlineData("ort", "before", "inFlight", "recompute")]
    [InlineData("ort", "never", "drain", "keep"), InlineData("ort", "behind", "inFlight", "recompute"), InlineData("genai", "auto", "drain", "keep"), InlineData("genai", "auto", "inFlight", "recompute")]
    public async Task SwapAsync_ProbeDiffersUnderLoad_LeavesRunningCompletionsAlone(string session, string prepack, string swap, string keyValues)
    {
        var options = Small with { Session = session, Prepack = prepack, Swap = swap, InFlightKeyValues = keyValues };
        var probe = await ProbeOf(model.Policy);
        probe.LogProbs[5] += 0.25f;
        await using var undisturbed = await Start(options);
        var expected = Bits(await Generate(undisturbed));
        await using var engine = await Start(options);
        var running = Generate(engine);
        for (var version = 1; version <= 3; version++)
            await Assert.ThrowsAsync<SwapFailedException>(() => engine.SwapAsync(model.Version(version, seed: 2, probe), default));
        Assert.Equal(expected, Bits(await running));
        Assert.Equal(expected, Bits(await Generate(engine)));
        Assert.Equal((0, true), (engine.Counters.Swaps, engine.Counters.SwapSeconds > 0));
    }

    [Theory]
    [InlineData("direct", PublishedPolicy.WeightsFile, 9), InlineData("before", PublishedPolicy.WeightsFile, 10), InlineData("before", PublishedPolicy.DecodeGraphFile, 11)]
    public async Task SwapAsync_BrokenFolder_KeepsTheOldVersionServing(string prepack, string file, int seed)
    {
        var broken = model.Version(1, seed);
        File.WriteAllText(Path.Combine(broken.Folder, file), "neither graph nor weights");
        await using var engine = await Start(Small with { Prepack = prepack });
        var error = await Assert.ThrowsAsync<UserErrorException>(() => engine.SwapAsync(broken, default));
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
        Assert.Equal(4, (await Generate(engine)).Completions.Count);
    }

    [Fact]
    public async Task SwapAsync_SameVersion_IsRefused()
    {
        await using var engine = await Start(Small);
        await Assert.ThrowsAsync<InvalidOperationException>(() => engine.SwapAsync(model.Policy, default));
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
        const int Settled = 2 * SwapMemoryProcess.Every;
        const long Allowance = 24L << 20; // a session that is not given back keeps about 1 MiB: 150 of them show
        var deadline = TimeSpan.FromMinutes(5);
        var start = new ProcessStartInfo("dotnet", [typeof(SwapMemoryProcess).Assembly.Location]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        start.Environment["DOTNET_GCgen0size"] = "400000"; // hexadecimal, 4 MiB: by itself the managed heap grows by the size of the processor's cache before it collects
        using var process = Process.Start(start)!;
        using var timer = new CancellationTokenSource(deadline);
        var errors = process.StandardError.ReadToEndAsync(timer.Token);
        try
        {
            var lines = (await process.StandardOutput.ReadToEndAsync(timer.Token)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            await process.WaitForExitAsync(timer.Token);
            Assert.True(process.ExitCode == 0, await errors);
            var memory = lines.Select(SwapMemory.Parse).ToArray();
            foreach (var at in memory)
                output.WriteLine($"{at.Swaps,4} swaps: {at.ResidentBytes / 1048576.0:F1} MiB resident, {at.OpenFiles} files");
            var (settled, last) = (memory.Single(at => at.Swaps == Settled), memory[^1]);
            Assert.Equal(SwapMemoryProcess.Swaps, last.Swaps);
            Assert.InRange(last.ResidentBytes, 0, settled.ResidentBytes + Allowance);
            Assert.InRange(last.OpenFiles, 0, settled.OpenFiles + 8);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{SwapMemoryProcess.Swaps} swaps were not done within {deadline}.");
        }
    }

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
