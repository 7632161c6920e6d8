using static Sapo.Rollout.Tests.Scheduling.SchedulerHarness;

namespace Sapo.Rollout.Tests.Scheduling;

public sealed class SlotSchedulerTests
{
    [Fact]
    public async Task GenerateAsync_AnyNumberOfSlotsAndNeighbours_GivesTheSameCompletions()
    {
        string[]? expected = null;
        foreach (var slots in new[] { 1, 2, 5, 16 })
        {
            await using var harness = new SchedulerHarness(slots, prefillChunk: 1 + slots);
            var groups = await Task.WhenAll(Enumerable.Range(0, 9).Select(id => harness.Generate(Prompt(id, 1 + 3 * id % 7), groupSize: 3, maxNewTokens: 2 + 5 * id % 11)));
            var found = groups.SelectMany(group => group.Completions.Select(Show)).ToArray();
            Assert.Equal(27, found.Distinct(StringComparer.Ordinal).Count());
            Assert.Equal(expected ??= found, found);
        }
    }

    [Fact]
    public async Task GenerateAsync_FirstSampleIndex_MakesTheSameSampleAlone()
    {
        await using var harness = new SchedulerHarness(slots: 4);
        var group = await harness.Generate(Prompt(5, 6), groupSize: 4, maxNewTokens: 12);
        var alone = await harness.Generate(new GenerationRequest(Prompt(5, 6), 1, new SamplingOptions()) { FirstSampleIndex = 2 }, maxNewTokens: 12);
        Assert.Equal(2, alone.Completions[0].SampleIndex);
        Assert.Equal(Show(group.Completions[2]), Show(alone.Completions[0]));
    }

    [Fact]
    public async Task GenerateAsync_Group_ComputesThePromptOnce()
    {
        await using var harness = new SchedulerHarness(slots: 3);
        await harness.Generate(Prompt(1, 9), groupSize: 8, maxNewTokens: 4);
        Assert.Equal(8, harness.Scheduler.Counts.PromptTokensComputed); // 9 less the last, which each completion feeds itself
        Assert.Equal(8 * 8, harness.Scheduler.Counts.PromptTokensRequested);
    }

    [Fact]
    public async Task GenerateAsync_Group_SharesThePromptOfOneRow()
    {
        const int Length = 6, GroupSize = 4, Steps = 5;
        await using var harness = new SchedulerHarness(slots: 8);
        await harness.Generate(SchedulerHarness.Prompt(1, Length), GroupSize, Steps);
        Assert.Equal((GroupSize - 1) * Steps * (Length - 1), harness.Session.SharedPositions);
        await harness.Generate(SchedulerHarness.Prompt(2, Length), groupSize: 1, Steps);
        Assert.Equal((GroupSize - 1) * Steps * (Length - 1), harness.Session.SharedPositions);
    }

    [Fact]
    public async Task GenerateAsync_PromptsThatBeginAlike_ComputeTheCommonPartOnce()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        int[] common = [3, 1, 4, 1, 5, 9, 2, 6];
        for (var i = 0; i < 5; i++) await harness.Generate(Prompt(i, [.. common, 10 + i, 7, 7]), groupSize: 2, maxNewTokens: 3);
        Assert.Equal(8 + 5 * 2, harness.Scheduler.Counts.PromptTokensComputed);
        await harness.Generate(Prompt(9, common), groupSize: 2, maxNewTokens: 3); // lies in a kept row as a whole
        Assert.Equal(8 + 5 * 2, harness.Scheduler.Counts.PromptTokensComputed);
    }

    [Fact]
    public async Task GenerateAsync_LongPrompt_IsComputedInChunksBetweenSteps()
    {
        using var started = new ManualResetEventSlim();
        await using var harness = new SchedulerHarness(slots: 2, prefillChunk: 10, prepare: session => session.BeforeDecode = () => started.Wait());
        var running = harness.Generate(Prompt(1, 1), groupSize: 1, maxNewTokens: 40);
        var late = harness.Generate(Prompt(2, 96), groupSize: 1, maxNewTokens: 1);
        started.Set();
        await Task.WhenAll(running, late);
        Assert.All(harness.Session.Prefills, prefill => Assert.InRange(prefill.Count, 1, 10));
        Assert.Equal(95, harness.Session.Prefills.Sum(prefill => prefill.Count));
        Assert.Equal(10, harness.Session.Prefills.Count);
        Assert.Equal(40, harness.Scheduler.Counts.DecodeSteps); // the running completion was never held up, the late one ran beside it
    }

    [Fact]
    public async Task GenerateAsync_VeryDifferentLengths_KeepsAllSlotsBusyWhileWorkWaits()
    {
        using var queued = new ManualResetEventSlim();
        await using var harness = new SchedulerHarness(slots: 8, prepare: session => session.BeforeDecode = () => queued.Wait());
        var groups = Enumerable.Range(0, 12).Select(id => harness.Generate(Prompt(id, 1 + id), groupSize: 4, maxNewTokens: 1 + id * id % 37)).ToArray();
        queued.Set();
        await Task.WhenAll(groups);
        var counts = harness.Scheduler.Counts;
        Assert.True(counts.SlotStepsAvailable > 0);
        Assert.Equal(counts.SlotStepsAvailable, counts.SlotStepsUsed);
        Assert.Equal(counts.GeneratedTokens, harness.Session.DecodedRows); // idle slots are not computed either
    }

    [Fact]
    public async Task GenerateAsync_SessionThatStartsRowsTogether_GetsWholeBatchesThatKeepTheirRows()
    {
        await using var free = new SchedulerHarness(slots: 4);
        using var queued = new ManualResetEventSlim();
        await using var harness = new SchedulerHarness(slots: 4, together: true, prepare: session => session.BeforeDecode = () => queued.Wait());
        Task<RolloutGroup[]> Run(SchedulerHarness on) => Task.WhenAll(Enumerable.Range(0, 4).Select(id => on.Generate(Prompt(id, 3), groupSize: 3, maxNewTokens: 5 * (1 + id))));
        var groups = Run(harness);
        queued.Set();
        Assert.Equal((await Run(free)).SelectMany(group => group.Completions.Select(Show)), (await groups).SelectMany(group => group.Completions.Select(Show)));
        // 12 completions of 5, 10, 15 and 20 tokens, three of each: the first batch may begin before all are queued, each goes on to its longest
        Assert.All(harness.Session.RowCounts.Skip(1).Zip(harness.Session.RowCounts), pair => Assert.True(pair.First >= pair.Second || harness.Session.RowCounts[0] < 4));
        Assert.Equal(150, harness.Scheduler.Counts.GeneratedTokens);
        Assert.True(harness.Session.DecodedRows > 150);
    }

    [Fact]
    public async Task GenerateAsync_SeveralGroups_AreStartedFirstComeFirstServed()
    {
        using var queued = new ManualResetEventSlim();
        await using var harness = new SchedulerHarness(slots: 2, prepare: session => session.BeforeDecode = () => queued.Wait());
        var order = new List<long>();
        var groups = Enumerable.Range(0, 6).Select(id => harness.Generate(
            new GenerationRequest(Prompt(id, 2), 2, new SamplingOptions()) { CompletionFinished = _ => order.Add(id) }, maxNewTokens: 3)).ToArray();
        queued.Set();
        await Task.WhenAll(groups);
        Assert.Equal(order.Order(), order);
    }

    [Fact]
    public async Task GenerateAsync_Cancelled_FreesItsSlots()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        using var cancel = new CancellationTokenSource();
        var endless = harness.Generate(Prompt(1, 2), groupSize: 8, maxNewTokens: int.MaxValue, cancel.Token);
        var waiting = harness.Generate(Prompt(2, 2), groupSize: 2, maxNewTokens: 3);
        Assert.False(waiting.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => endless);
        Assert.Equal(2, (await waiting).Completions.Count);
    }

    [Fact]
    public async Task GenerateAsync_SessionThrows_FailsEveryRequestWithTheCause()
    {
        var failure = new InvalidOperationException("out of order");
        var steps = 0;
        await using var harness = new SchedulerHarness(slots: 2, prepare: session => session.BeforeDecode = () =>
        {
            if (++steps == 3) throw failure;
        });
        var requests = Enumerable.Range(0, 30).Select(id => harness.Generate(Prompt(id, 2), groupSize: 2, maxNewTokens: 10)).ToArray();
        foreach (var request in requests) Assert.Same(failure, (await Assert.ThrowsAsync<RolloutException>(() => request)).InnerException);
        await Assert.ThrowsAsync<RolloutException>(() => harness.Generate(Prompt(99, 2), groupSize: 1, maxNewTokens: 1));
        using var another = harness.NewSession(1);
        await Assert.ThrowsAsync<RolloutException>(() => harness.Scheduler.SwitchAsync(another, probe: null, firstStep: null, default));
        Assert.True(harness.Session.IsDisposed && another.IsDisposed);
    }

    [Fact]
    public async Task GenerateAsync_LogProbIsNaN_FailsNamingVersionPromptAndPosition()
    {
        await using var harness = new SchedulerHarness(slots: 2, prepare: session => session.IsPoison = token => token == 22);
        var failure = await Assert.ThrowsAsync<RolloutException>(() => harness.Generate(Prompt(77, 1, 2, 22), groupSize: 1, maxNewTokens: 10));
        Assert.Contains("v000000", failure.Message, StringComparison.Ordinal);
        Assert.Contains("prompt 77, sample 0, position 0", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DisposeAsync_RequestsUnderWay_FailsThemAll()
    {
        var harness = new SchedulerHarness(slots: 2);
        var requests = Enumerable.Range(0, 30).Select(id => harness.Generate(Prompt(id, 2), groupSize: 2, maxNewTokens: int.MaxValue)).ToArray();
        await harness.DisposeAsync();
        foreach (var request in requests) await Assert.ThrowsAsync<ObjectDisposedException>(() => request);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => harness.Generate(Prompt(1, 2), groupSize: 1, maxNewTokens: 1));
        Assert.True(harness.Session.IsDisposed);
    }

    [Fact]
    public async Task GenerateAsync_CallbackThrows_FailsItsOwnGroupOnly()
    {
        await using var harness = new SchedulerHarness(slots: 2);
        var broken = harness.Generate(
            new GenerationRequest(Prompt(1, 2), 2, new SamplingOptions()) { TokenSampled = _ => throw new FormatException("mine") }, maxNewTokens: 4);
        var sound = harness.Generate(Prompt(2, 2), groupSize: 2, maxNewTokens: 4);
        await Assert.ThrowsAsync<FormatException>(() => broken);
        Assert.Equal(2, (await sound).Completions.Count);
    }

    private static string Show(Completion completion) => string.Join(' ', completion.TokenIds) + " | " + string.Join(' ', completion.BehaviourLogProbs.Select(BitConverter.SingleToUInt32Bits));
}
