using System.Collections.Concurrent;
using System.Threading.Channels;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Tests.Rollouts;

public sealed class RolloutPumpTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30); // a hung test fails instead of blocking the run

    [Fact]
    public async Task TakeStepAsync_GroupsFinishInReverse_ComeInPromptOrder()
    {
        var waiting = new ConcurrentDictionary<long, TaskCompletionSource>();
        await using var pump = Pump(perStep: 3, staleness: 0, end: 3, async (prompt, cancel) =>
        {
            await waiting.GetOrAdd(prompt.Id, _ => new(TaskCreationOptions.RunContinuationsAsynchronously)).Task.WaitAsync(cancel);
            return Fakes.Group(prompt, default);
        });
        var step = pump.TakeStepAsync(default, default);
        foreach (var id in (long[])[2, 1, 0]) waiting.GetOrAdd(id, _ => new(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
        Assert.Equal([0, 1, 2], (await step.WaitAsync(Patience)).Groups.Select(group => group.Group.Prompt.Id));
        Assert.Equal(3, pump.NextPrompt);
    }

    [Fact]
    public async Task Admission_StalenessZero_AsksNothingBeforeRelease()
    {
        var asked = Channel.CreateUnbounded<long>();
        await using var pump = Pump(perStep: 2, staleness: 0, end: 6, (prompt, _) =>
        {
            asked.Writer.TryWrite(prompt.Id);
            return Task.FromResult(Fakes.Group(prompt, default));
        });
        await pump.TakeStepAsync(default, default).WaitAsync(Patience);
        Assert.Equal([0, 1], Drain(asked).Order());
        Assert.False(asked.Reader.TryRead(out _));
        pump.Release(2);
        await pump.TakeStepAsync(default, default).WaitAsync(Patience);
        Assert.Equal([2, 3], Drain(asked).Order());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public async Task TakeStepAsync_EngineFarAhead_StalenessReachesItsBoundAndNeverMore(int staleness)
    {
        const int PerStep = 4, Steps = 12;
        var version = new PolicyVersion(0);
        await using var pump = Pump(PerStep, staleness, end: PerStep * Steps, (prompt, _) => Task.FromResult(Fakes.Group(prompt, version)));
        var observed = new List<long>();
        for (var done = 0; done < Steps; done++)
        {
            // Wait until everything admission allows has been sampled: the worst case for staleness.
            var admitted = Math.Min(PerStep * Steps, PerStep * (done + staleness + 1));
            await Waiting.UntilAsync(() => pump.Progress.Moves >= 2 * admitted, () => $"{admitted} groups sampled and judged; the pump has made {pump.Progress.Moves} moves");
            var step = await pump.TakeStepAsync(version, default).WaitAsync(Patience); // throws if the bound is broken
            observed.AddRange(step.Groups.Select(group => version - group.Group.OldestVersion));
            version = version.Next;
            pump.Release(PerStep);
        }
        Assert.Equal(staleness, observed.Max());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public async Task TakeStepAsync_ExactStaleness_EveryGroupIsAsOldAsItCanBe(int staleness)
    {
        const int PerStep = 2, Steps = 8;
        var version = new PolicyVersion(0);
        var options = new PumpOptions { PromptsPerStep = PerStep, MaxStaleness = staleness, ExactStaleness = true, FirstPrompt = 0, Groups = PerStep * Steps };
        await using var pump = new RolloutPump(
            options, Fakes.Prompt, async (prompt, cancel) =>
            {
                await Task.Delay(prompt.Id % 3 == 0 ? 5 : 0, cancel); // some are slow: they are waited for
                return Fakes.Group(prompt, version);
            }, Fakes.Judge());
        for (var step = 0; step < Steps; step++)
        {
            var groups = (await pump.TakeStepAsync(version, default).WaitAsync(Patience)).Groups;
            Assert.All(groups, group => Assert.Equal(Math.Min(step, staleness), version - group.Group.OldestVersion));
            version = version.Next;
            pump.Release(PerStep);
        }
    }

    [Fact]
    public async Task TakeStepAsync_GroupOlderThanTheBound_IsRefused()
    {
        await using var pump = Pump(perStep: 1, staleness: 1, end: 1, (prompt, _) => Task.FromResult(Fakes.Group(prompt, new PolicyVersion(2))));
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() => pump.TakeStepAsync(new PolicyVersion(4), default));
        Assert.Contains("staleness 2, allowed 0 to 1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TakeStepAsync_UselessGroups_GiveTheirPlaceToFurtherPromptsWhoeverFinishesFirst()
    {
        foreach (var order in (long[][])[[0, 1, 2, 3], [1, 0, 3, 2]])
        {
            var waiting = new ConcurrentDictionary<long, TaskCompletionSource>();
            var asked = Channel.CreateUnbounded<long>();
            await using var pump = SelectingPump(perStep: 2, staleness: 0, groups: 4, isUseful: id => id % 2 == 1, async (prompt, cancel) =>
            {
                asked.Writer.TryWrite(prompt.Id);
                if (prompt.Id < 4) await waiting.GetOrAdd(prompt.Id, _ => new(TaskCreationOptions.RunContinuationsAsynchronously)).Task.WaitAsync(cancel);
                return Fakes.Group(prompt, default);
            });
            var taking = pump.TakeStepAsync(default, default);
            foreach (var id in order) waiting.GetOrAdd(id, _ => new(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
            var step = await taking.WaitAsync(Patience);
            Assert.Equal([1, 3], step.Groups.Select(group => group.Group.Prompt.Id));
            Assert.Equal([0, 2], step.Replaced.Select(group => group.Group.Prompt.Id));
            Assert.Equal(0.5, step.WastedShare);
            Assert.Equal(4, pump.NextPrompt);
            Assert.Equal([0, 1, 2, 3], Drain(asked).Order()); // nothing beyond what the step needed
            pump.Release(2);
            step = await pump.TakeStepAsync(default, default).WaitAsync(Patience);
            Assert.Equal([5, 7], step.Groups.Select(group => group.Group.Prompt.Id));
            Assert.Equal([4, 5, 6, 7], Drain(asked).Order());
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Untrained_GivenToTheNextPump_NothingIsAskedTwiceOrLost(bool selects)
    {
        const int PerStep = 3, Staleness = 2, Steps = 6;
        var asked = Channel.CreateUnbounded<long>();
        var (taken, version) = (new List<long>(), new PolicyVersion(0));
        RolloutPump Start(long firstPrompt, int steps, IReadOnlyList<ScoredGroup> known)
        {
            var options = new PumpOptions { PromptsPerStep = PerStep, MaxStaleness = Staleness, FirstPrompt = firstPrompt, Groups = PerStep * steps };
            Task<RolloutGroup> Generate(Prompt prompt, CancellationToken cancel)
            {
                asked.Writer.TryWrite(prompt.Id);
                return Task.FromResult(Fakes.Group(prompt, version));
            }

            var judge = Fakes.Judge(new Fakes.Scores(input => RewardOutcome.Score(input.Prompt.Id % 3 != 0 ? input.Completion.SampleIndex : 1)));
            return new RolloutPump(options, Fakes.Prompt, Generate, judge, selects ? new GroupSelector(new SelectionOptions { MostBatches = 2 }, PerStep) : null, known);
        }

        (long Next, IReadOnlyList<ScoredGroup> Known) place = (0, []);
        for (var done = 0; done < Steps; done += 2) // a new pump after every second step
        {
            await using var pump = Start(place.Next, Steps - done, place.Known);
            for (var step = 0; step < 2; step++)
            {
                taken.AddRange((await pump.TakeStepAsync(version, default).WaitAsync(Patience)).Groups.Select(group => group.Group.Prompt.Id));
                version = version.Next;
                if (step == 0) pump.Release(PerStep);
            }
            var beyond = Math.Min(PerStep * (Steps - done - 2), PerStep * Staleness); // what the slots still hold once all of it is judged
            await Waiting.UntilAsync(() => pump.Untrained().Count >= beyond, () => $"{beyond} groups beyond step {done + 2}; there are {pump.Untrained().Count}");
            place = (pump.NextPrompt, pump.Untrained());
            Assert.All(place.Known, group => Assert.True(group.Group.Prompt.Id >= place.Next));
        }
        Assert.Equal(Enumerable.Range(0, 100).Select(id => (long)id).Where(id => !selects || id % 3 != 0).Take(PerStep * Steps), taken);
        var everything = Drain(asked);
        Assert.Equal(everything.Count, everything.Distinct().Count());
    }

    [Fact]
    public async Task TakeStepAsync_NoGroupIsUseful_TakesWhatComesAfterTheBound()
    {
        await using var pump = SelectingPump(perStep: 2, staleness: 0, groups: 4, isUseful: _ => false, (prompt, _) => Task.FromResult(Fakes.Group(prompt, default)));
        foreach (var first in (long[])[0, 4])
        {
            var step = await pump.TakeStepAsync(default, default).WaitAsync(Patience);
            Assert.Equal([first, first + 1], step.Replaced.Select(group => group.Group.Prompt.Id)); // mostBatches 2: one batch beside the step's own
            Assert.Equal([first + 2, first + 3], step.Groups.Select(group => group.Group.Prompt.Id));
            pump.Release(2);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task TakeStepAsync_Selection_KeepsTheStalenessBound(int staleness)
    {
        const int PerStep = 4, Steps = 10;
        var version = new PolicyVersion(0);
        await using var pump = SelectingPump(PerStep, staleness, groups: PerStep * Steps, id => id % 3 != 0, (prompt, _) => Task.FromResult(Fakes.Group(prompt, version)));
        var taken = new List<long>();
        for (var done = 0; done < Steps; done++)
        {
            var admitted = Math.Min(PerStep * Steps, PerStep * (done + staleness + 1));
            await Waiting.UntilAsync(() => pump.Progress.Moves >= 2 * admitted, () => $"{admitted} groups; the pump has made {pump.Progress.Moves} moves");
            var step = await pump.TakeStepAsync(version, default).WaitAsync(Patience); // throws if the bound is broken
            taken.AddRange(step.Groups.Select(group => group.Group.Prompt.Id));
            version = version.Next;
            pump.Release(PerStep);
        }
        Assert.Equal(Enumerable.Range(0, 100).Select(id => (long)id).Where(id => id % 3 != 0).Take(PerStep * Steps), taken);
    }

    [Fact]
    public async Task TakeStepAsync_EngineFails_SurfacesItsCauseAndCancelsTheRest()
    {
        var cancelled = new TaskCompletionSource();
        await using var pump = Pump(perStep: 2, staleness: 0, end: 2, async (prompt, cancel) =>
        {
            if (prompt.Id == 1) throw new IOException("the engine broke");
            await using var registration = cancel.Register(() => cancelled.TrySetResult());
            await Task.Delay(Timeout.Infinite, cancel);
            return Fakes.Group(prompt, default);
        });
        var error = await Assert.ThrowsAsync<IOException>(() => pump.TakeStepAsync(default, default).WaitAsync(Patience));
        Assert.Equal("the engine broke", error.Message);
        await cancelled.Task.WaitAsync(Patience);
    }

    [Fact]
    public async Task TakeStepAsync_Cancelled_KeepsWhatWasFinished()
    {
        var second = new TaskCompletionSource();
        await using var pump = Pump(perStep: 2, staleness: 0, end: 2, async (prompt, cancel) =>
        {
            if (prompt.Id == 1) await second.Task.WaitAsync(cancel);
            return Fakes.Group(prompt, default);
        });
        using var stop = new CancellationTokenSource();
        var step = pump.TakeStepAsync(default, stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => step);
        Assert.Equal(0, pump.NextPrompt);
        second.SetResult();
        Assert.Equal(2, (await pump.TakeStepAsync(default, default).WaitAsync(Patience)).Groups.Count);
    }

    [Fact]
    public async Task DisposeAsync_WorkUnderWay_CancelsAndWaitsForIt()
    {
        var ended = false;
        var pump = Pump(perStep: 1, staleness: 0, end: 1, async (prompt, cancel) =>
        {
            try
            {
                await Task.Delay(Timeout.Infinite, cancel);
            }
            finally
            {
                ended = true;
            }
            return Fakes.Group(prompt, default);
        });
        await Waiting.UntilAsync(() => pump.Progress.Stage == "rollout", () => $"the group to be under way; the pump is at {pump.Progress.Stage}");
        await pump.DisposeAsync();
        Assert.True(ended);
    }

    private static RolloutPump Pump(int perStep, int staleness, long end, Func<Prompt, CancellationToken, Task<RolloutGroup>> generate) => new(
        new PumpOptions { PromptsPerStep = perStep, MaxStaleness = staleness, FirstPrompt = 0, Groups = end }, Fakes.Prompt, generate, Fakes.Judge());

    /// <summary>A pump whose judge gives the completions of useful prompts different rewards.</summary>
    private static RolloutPump SelectingPump(int perStep, int staleness, long groups, Func<long, bool> isUseful, Func<Prompt, CancellationToken, Task<RolloutGroup>> generate) => new(
        new PumpOptions { PromptsPerStep = perStep, MaxStaleness = staleness, FirstPrompt = 0, Groups = groups }, Fakes.Prompt, generate,
        Fakes.Judge(new Fakes.Scores(input => RewardOutcome.Score(isUseful(input.Prompt.Id) ? input.Completion.SampleIndex : 1))),
        new GroupSelector(new SelectionOptions { MostBatches = 2 }, perStep));

    private static List<long> Drain(Channel<long> channel)
    {
        var found = new List<long>();
        while (channel.Reader.TryRead(out var id)) found.Add(id);
        return found;
    }
}
