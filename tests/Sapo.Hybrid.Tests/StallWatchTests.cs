namespace Sapo.Hybrid.Tests;

public sealed class StallWatchTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30); // a hung test fails instead of blocking the run
    private static readonly TimeSpan StallTimeout = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task RunAsync_NothingMoves_CancelsTheStageAndNamesIt()
    {
        var clock = new ManualClock();
        var cancelled = false;
        var run = new StallWatch(StallTimeout, clock).RunAsync("publish", async stop =>
        {
            try
            {
                await Task.Delay(Timeout.Infinite, stop);
            }
            finally
            {
                cancelled = stop.IsCancellationRequested;
            }
            return 0;
        }, default);
        await AdvanceWhenWaitingAsync(clock, StallTimeout);
        var error = await Assert.ThrowsAsync<StalledException>(() => run.WaitAsync(Patience));
        Assert.Equal("publish", error.Stage);
        Assert.True(cancelled);
    }

    [Fact]
    public async Task RunAsync_ProgressEveryTimeout_GoesOnUntilItStops()
    {
        var clock = new ManualClock();
        var moves = 0L;
        var run = new StallWatch(StallTimeout, clock).RunAsync("step", async stop =>
        {
            await Task.Delay(Timeout.Infinite, stop);
            return 0;
        }, default, () => (Interlocked.Read(ref moves), "rewards"));
        for (var i = 0; i < 3; i++)
        {
            Interlocked.Increment(ref moves);
            await AdvanceWhenWaitingAsync(clock, StallTimeout);
            await UntilWaitingAsync(clock); // it has seen the move and waits again
        }
        Assert.False(run.IsCompleted);
        await AdvanceWhenWaitingAsync(clock, StallTimeout);
        Assert.Equal("rewards", (await Assert.ThrowsAsync<StalledException>(() => run.WaitAsync(Patience))).Stage);
    }

    [Fact]
    public async Task RunAsync_StageEnds_GivesItsResultAndCountsItsTime()
    {
        var clock = new ManualClock();
        var watch = new StallWatch(StallTimeout, clock);
        var result = await watch.RunAsync("learn", _ =>
        {
            clock.Advance(TimeSpan.FromSeconds(3));
            return Task.FromResult(42);
        }, default);
        Assert.Equal(42, result);
        Assert.Equal(3, watch.TakeSeconds()["learn"], 1e-9);
        Assert.Empty(watch.TakeSeconds());
    }

    [Fact]
    public async Task RunAsync_CallerCancels_IsCancelledNotStalled()
    {
        using var stop = new CancellationTokenSource();
        var run = new StallWatch(StallTimeout, new ManualClock()).RunAsync("rollout", async token =>
        {
            await Task.Delay(Timeout.Infinite, token);
            return 0;
        }, stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.WaitAsync(Patience));
    }

    private static async Task AdvanceWhenWaitingAsync(ManualClock clock, TimeSpan by)
    {
        await UntilWaitingAsync(clock);
        clock.Advance(by);
    }

    private static Task UntilWaitingAsync(ManualClock clock) =>
        Waiting.UntilAsync(() => clock.Waiting > 0, () => "the watch to set its timer");
}
