using Sapo.Rollout.Scheduling;
using Sapo.Rollout.Tests.Decoding;
using Sapo.Testing;
using static Sapo.Rollout.Tests.Scheduling.SchedulerHarness;

namespace Sapo.Rollout.Tests.Scheduling;

public sealed class VersionSwitchTests
{
    private static readonly PolicyVersion Old = new(0), New = new(1);

    [Fact]
    public async Task SwitchAsync_Drain_FinishesOldCompletionsOnTheOldVersionAndStartsNewOnesAtOnce()
    {
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        var late = run.Harness.Generate(Prompt(2, 4), groupSize: 2, maxNewTokens: 3);
        run.Open();
        var lateCompletions = (await late).Completions;
        Assert.All(lateCompletions, completion => Assert.Equal([new VersionSpan(0, 3, New)], completion.VersionSpans));
        Assert.All((await run.Early).Completions, completion => Assert.Equal([new VersionSpan(0, 20, Old)], completion.VersionSpans));
        Assert.False(run.Harness.Session.ReadAnotherVersion || run.Successor.ReadAnotherVersion);
    }

    [Fact]
    public async Task SwitchAsync_SessionsThatWantTwoRows_NeverDecodeOneAlone()
    {
        await using var harness = new SchedulerHarness(slots: 2, minimumRows: 2);
        var early = harness.Generate(Prompt(1, 4), groupSize: 1, maxNewTokens: 200);
        for (var version = 1; version < 4; version++) await harness.Scheduler.SwitchAsync(harness.NewSession(version, minimumRows: 2), probe: null, firstStep: null, default);
        var late = await harness.Generate(Prompt(2, 4), groupSize: 3, maxNewTokens: 5);
        Assert.Equal(3, late.Completions.Count);
        Assert.Equal(200, (await early).Completions[0].TokenIds.Length);
    }

    [Fact]
    public async Task SwitchAsync_Drain_GivesTheSameCompletionsAsAnUndisturbedRun()
    {
        await using var undisturbed = new SchedulerHarness(slots: 6);
        var expected = await undisturbed.Generate(Prompt(1, 4), groupSize: 3, maxNewTokens: 20);
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        run.Open();
        Assert.Equal(expected.Completions.Select(completion => completion.TokenIds), (await run.Early).Completions.Select(completion => completion.TokenIds));
    }

    [Fact]
    public async Task SwitchAsync_DrainTwice_WaitsForTheOldestVersion()
    {
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        _ = run.Harness.Generate(Prompt(2, 4), groupSize: 1, maxNewTokens: 500);
        await run.StepAsync(2);
        var third = run.Harness.Scheduler.SwitchAsync(run.Harness.NewSession(2), probe: null, firstStep: null, default);
        await run.StepAsync(2);
        Assert.False(third.IsCompleted);
        run.Open();
        await run.Early;
        await third;
        await run.Harness.DisposeAsync();
        Assert.True(run.Harness.Session.IsDisposed);
    }

    [Fact]
    public async Task SwitchAsync_WithdrawnWhileItWaits_LeavesTheVersionBeforeItServing()
    {
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        _ = run.Harness.Generate(Prompt(2, 4), groupSize: 1, maxNewTokens: 500);
        await run.StepAsync(2);
        using var cancel = new CancellationTokenSource();
        using var third = run.Harness.NewSession(2);
        var switched = run.Harness.Scheduler.SwitchAsync(third, probe: null, firstStep: null, cancel.Token);
        await run.StepAsync(2);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => switched);
        run.Open();
        var late = await run.Harness.Generate(Prompt(3, 4), groupSize: 1, maxNewTokens: 5);
        Assert.Equal(New, Assert.Single(late.Completions[0].VersionSpans).Version);
        await run.Early;
        Assert.True(third.IsDisposed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SwitchAsync_InFlight_GoesOnUnderTheNewVersion(bool recompute)
    {
        await using var run = new GatedRun(inFlight: true, recompute);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        run.Open();
        var completions = (await run.Early).Completions;
        Assert.True(run.Harness.Session.IsDisposed);
        foreach (var completion in completions)
        {
            Assert.Equal([Old, New], completion.VersionSpans.Select(span => span.Version));
            Assert.Equal(0, completion.VersionSpans[0].Start);
            Assert.Equal(completion.VersionSpans[0].Count, completion.VersionSpans[1].Start);
            Assert.Equal(20, completion.VersionSpans.Sum(span => span.Count));
            Assert.Equal(Old, completion.OldestVersion);
        }
        Assert.Equal(!recompute, run.Successor.ReadAnotherVersion);
    }

    [Fact]
    public async Task SwitchAsync_GroupPartlyStarted_StartsTheRestOnTheNewVersionWithItsOwnPrompt()
    {
        await using var run = new GatedRun(inFlight: false, recompute: false, groupSize: 9);
        await run.StepAsync(3);
        await run.SwitchAsync(New);
        run.Open();
        var versions = (await run.Early).Completions.Select(completion => Assert.Single(completion.VersionSpans).Version);
        Assert.Equal([.. Enumerable.Repeat(Old, 6), .. Enumerable.Repeat(New, 3)], versions);
        Assert.False(run.Successor.ReadAnotherVersion);
        Assert.Single(run.Successor.Prefills);
    }

    [Fact]
    public async Task SwitchAsync_GroupPartlyStartedInFlight_SharesOnlyPromptsOfOneVersion()
    {
        await using var run = new GatedRun(inFlight: true, recompute: false, groupSize: 30, stopTokens: [1, 5, 9]); // completions of many lengths
        await run.StepAsync(3);
        await run.SwitchAsync(New);
        run.Open();
        var versions = (await run.Early).Completions.Select(completion => completion.VersionSpans.Select(span => span.Version).ToArray()).ToList();
        Assert.Contains([Old, New], versions); // went on beside those that started anew; the session refuses a prompt that is not the same
        Assert.Contains([New], versions);
        Assert.True(run.Successor.SharedPositions > 0);
    }

    [Fact]
    public async Task SwitchAsync_SameVersion_TakesTheOldSessionsPlaceWithoutATrace()
    {
        await using var undisturbed = new SchedulerHarness(slots: 6);
        var expected = await undisturbed.Generate(Prompt(1, 4), groupSize: 3, maxNewTokens: 20);
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(Old);
        run.Open();
        Assert.Equal(expected.Completions.Select(completion => completion.TokenIds), (await run.Early).Completions.Select(completion => completion.TokenIds));
        Assert.True(run.Harness.Session.IsDisposed);
        Assert.Equal(0, run.Harness.Scheduler.Counts.Swaps);
    }

    [Fact]
    public async Task SwitchAsync_SameVersionBeforeItsFirstStep_StillReportsThatStep()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var steps = 0;
        await harness.Scheduler.SwitchAsync(harness.NewSession(1), probe: null, () => Interlocked.Increment(ref steps), default);
        await harness.Scheduler.SwitchAsync(harness.NewSession(1), probe: null, firstStep: null, default); // the prepacked session, while nothing decodes
        await harness.Generate(Prompt(1, 4), groupSize: 1, maxNewTokens: 3);
        Assert.Equal(1, Volatile.Read(ref steps));
    }

    [Fact]
    public async Task SwitchAsync_FirstStep_IsReportedOnce()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var reports = 0;
        await harness.Scheduler.SwitchAsync(harness.NewSession(1), probe: null, () => reports++, default);
        Assert.Equal(0, reports);
        await harness.Generate(Prompt(1, 3), groupSize: 2, maxNewTokens: 4);
        Assert.Equal(1, reports);
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    public async Task SwitchAsync_Probe_RunsBetweenTheLastOldAndTheFirstNewStep(bool inFlight)
    {
        await using var run = new GatedRun(inFlight, recompute: false);
        await run.StepAsync(5);
        var (thread, before, after) = ("", -1, -1);
        await run.SwitchAsync(New, () => (thread, before) = (Thread.CurrentThread.Name!, run.Harness.Session.RowCounts.Count), () => after = run.Harness.Session.RowCounts.Count);
        _ = run.Harness.Generate(Prompt(2, 4), groupSize: 1, maxNewTokens: 3);
        run.Open();
        await run.Early;
        await run.Harness.DisposeAsync();
        Assert.Equal("Sapo rollout", thread);
        Assert.Equal(6, before); // the sixth step was under way when the switch was asked for
        if (inFlight) Assert.Equal(before, after);
    }

    [Fact]
    public async Task SwitchAsync_ProbeRefuses_LeavesRunningCompletionsAndTheOldSessionAlone()
    {
        await using var undisturbed = new SchedulerHarness(slots: 6);
        var expected = await undisturbed.Generate(Prompt(1, 4), groupSize: 3, maxNewTokens: 20);
        await using var run = new GatedRun(inFlight: true, recompute: true);
        await run.StepAsync(5);
        var refusal = await Assert.ThrowsAsync<InvalidOperationException>(() => run.SwitchAsync(New, () => throw new InvalidOperationException("not the learner's")));
        Assert.Equal("not the learner's", refusal.Message);
        run.Open();
        Assert.Equal(expected.Completions.Select(completion => completion.TokenIds), (await run.Early).Completions.Select(completion => completion.TokenIds));
        Assert.All((await run.Early).Completions, completion => Assert.Equal([new VersionSpan(0, 20, Old)], completion.VersionSpans));
        Assert.True(run.Successor.IsDisposed);
        Assert.False(run.Harness.Session.IsDisposed);
        Assert.Equal(0, run.Harness.Scheduler.Counts.Swaps);
        await run.Harness.Scheduler.SwitchAsync(run.Harness.NewSession(2), probe: null, firstStep: null, default); // the next one is none the worse
    }

    [Fact]
    public async Task SwitchAsync_SleepingEngine_WakesForTheProbeAndCountsItsTime()
    {
        var clock = new ManualClock();
        await using var harness = new SchedulerHarness(slots: 2, time: clock);
        var pause = await harness.Scheduler.SwitchAsync(harness.NewSession(1), () => clock.Advance(TimeSpan.FromSeconds(5)), firstStep: null, default);
        Assert.Equal((5.0, 5.0, 0.0), (pause.TotalSeconds, harness.Scheduler.Counts.SwapSeconds, harness.Scheduler.Counts.HostSeconds));
        Assert.Equal(New, (await harness.Generate(Prompt(1, 3), groupSize: 1, maxNewTokens: 1)).Completions[0].OldestVersion);
    }

    [Fact]
    public async Task SwitchAsync_WaitsForADrainingVersion_ProbesOnce()
    {
        await using var run = new GatedRun(inFlight: false, recompute: false);
        await run.StepAsync(5);
        await run.SwitchAsync(New);
        _ = run.Harness.Generate(Prompt(2, 4), groupSize: 1, maxNewTokens: 500);
        await run.StepAsync(2);
        var probes = 0;
        var third = run.Harness.Scheduler.SwitchAsync(run.Harness.NewSession(2), () => probes++, firstStep: null, default);
        await run.StepAsync(3);
        Assert.False(third.IsCompleted);
        run.Open();
        await third;
        Assert.Equal(1, probes);
    }

    [Fact]
    public async Task SwitchAsync_WithdrawnBeforeItsTurn_IsNotProbed()
    {
        await using var run = new GatedRun(inFlight: true, recompute: false);
        await run.HoldStepAsync();
        using var cancel = new CancellationTokenSource();
        using var next = run.Harness.NewSession(1);
        var switched = run.Harness.Scheduler.SwitchAsync(next, () => Assert.Fail("A withdrawn version was probed."), firstStep: null, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => switched);
        run.Open();
        Assert.All((await run.Early).Completions, completion => Assert.Equal([new VersionSpan(0, 20, Old)], completion.VersionSpans));
        await run.Harness.DisposeAsync();
        Assert.True(next.IsDisposed);
    }

    [Fact]
    public async Task SwitchAsync_WithdrawnDuringItsProbe_LetsTheCallerGoAtOnceAndIsNotInstalled()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        using var next = harness.NewSession(1);
        using var cancel = new CancellationTokenSource();
        using var hold = new ManualResetEventSlim();
        var probing = new TaskCompletionSource();
        var switched = harness.Scheduler.SwitchAsync(next, () => Hold(probing, hold), firstStep: null, cancel.Token);
        await probing.Task;
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => switched);
        hold.Set();
        Assert.Equal(Old, (await harness.Generate(Prompt(1, 3), groupSize: 1, maxNewTokens: 1)).Completions[0].OldestVersion);
        Assert.True(next.IsDisposed);
    }

    [Fact]
    public async Task DisposeAsync_DuringAProbe_EndsBehindItAndFailsWhatWaits()
    {
        var harness = new SchedulerHarness(slots: 2);
        using FakeDecodeSession probed = harness.NewSession(1), waiting = harness.NewSession(2);
        using var hold = new ManualResetEventSlim();
        var probing = new TaskCompletionSource();
        var first = harness.Scheduler.SwitchAsync(probed, () => Hold(probing, hold), firstStep: null, default);
        await probing.Task;
        var second = harness.Scheduler.SwitchAsync(waiting, () => Assert.Fail("A version was probed for an engine that ends."), firstStep: null, default);
        var disposed = harness.DisposeAsync();
        Assert.False(disposed.IsCompleted);
        hold.Set();
        await disposed;
        await first; // it was installed before the engine ended
        await Assert.ThrowsAsync<ObjectDisposedException>(() => second);
        Assert.True(probed.IsDisposed && waiting.IsDisposed && harness.Session.IsDisposed);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => harness.Scheduler.SwitchAsync(harness.NewSession(3), probe: null, firstStep: null, default));
    }

    [Fact]
    public async Task SwitchAsync_PromptsWaiting_StepsRunningCompletionsBeforeComputingThemAnew()
    {
        await using var run = new GatedRun(inFlight: true, recompute: false, groupSize: 6);
        _ = run.Harness.Generate(Prompt(2, 4), groupSize: 6, maxNewTokens: 3); // computed ahead of its turn
        await run.StepAsync(5);
        var prefills = -1;
        await run.SwitchAsync(New, probe: null, () => prefills = run.Successor.Prefills.Count);
        run.Open();
        await run.Early;
        Assert.Equal(0, prefills);
        await run.Harness.DisposeAsync();
        Assert.NotEmpty(run.Successor.Prefills);
    }

    private static void Hold(TaskCompletionSource reached, ManualResetEventSlim hold)
    {
        reached.SetResult();
        Assert.True(hold.Wait(TimeSpan.FromMinutes(1)), "The test did not let the probe go.");
    }
}
