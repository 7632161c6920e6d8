// prompt n -> engine -> rewards -> in prompt order: taken or replaced -> bounded channel -> TakeStepAsync
//
//   admission ---- slot ----> generate ----> judge ----> settle ----> channel ----> trained on, published, swapped
//       ^                                                  | useless                          |
//       '------------------- its slot --------------------'                                   |
//       '------------------------------- Release (after the swap) ---------------------------'
//
// There are (maxStaleness + 1) * promptsPerStep slots. A prompt takes one before it is asked and keeps it until the step
// that trained on it has been published and swapped in. When prompt n is admitted under version v, fewer than that many
// groups are ahead of it, and groups are taken in prompt order, so at most maxStaleness steps lie between: the bound
// needs no group to be thrown away. With maxStaleness 0 this is synchronous training, with the same code.
//
// A group that the selection finds useless gives its slot to the next prompt, up to a number of groups per step; after
// that every group is taken. Because groups are settled in prompt order, which prompts a step asks and which of them it
// trains on follows from the rewards alone, not from who finished first.
//
// How old a group is depends on how fast the engine is. With ExactStaleness TakeStepAsync waits for every group that the
// slots allow: all of them are sampled by the version at hand, and a group is trained on exactly maxStaleness steps later,
// whatever the machine's pace.
using System.Runtime.ExceptionServices;
using System.Threading.Channels;
using Sapo.Core;

namespace Sapo.Hybrid.Rollouts;

/// <summary>What a pump does, in numbers.</summary>
public sealed record PumpOptions
{
    /// <summary>Groups per step.</summary>
    public required int PromptsPerStep { get; init; }

    /// <summary>Most versions a group may lie behind the learner when it is trained on.</summary>
    public required int MaxStaleness { get; init; }

    /// <summary>Every group lies exactly that far behind, or as far as it can in the first steps.</summary>
    public bool ExactStaleness { get; init; }

    /// <summary>The first prompt's number: the place in the data.</summary>
    public required long FirstPrompt { get; init; }

    /// <summary>Groups that the run will still train on: no more are taken.</summary>
    public required long Groups { get; init; }
}

/// <summary>
/// Keeps the engine supplied with prompts and the learner with judged groups. A failure anywhere stops admission,
/// cancels what is under way and surfaces in <see cref="TakeStepAsync"/>.
/// </summary>
public sealed class RolloutPump : IAsyncDisposable
{
    private readonly PumpOptions _options;
    private readonly int _capacity;
    private readonly Func<long, Prompt> _prompts;
    private readonly Func<Prompt, CancellationToken, Task<RolloutGroup>> _generate;
    private readonly RewardJudge _judge;
    private readonly GroupSelector _selector;
    private readonly Channel<Settled> _settled;
    private readonly SemaphoreSlim _slots;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new(); // around the settling of groups and the counting of slots
    private readonly Dictionary<long, ScoredGroup> _early = [];
    private readonly Dictionary<long, ScoredGroup> _known; // by prompt: judged before this pump began
    private readonly SortedDictionary<long, ScoredGroup> _untrained = []; // by prompt
    private readonly List<ScoredGroup> _replaced = []; // since the last group that was taken
    private readonly List<Settled> _taking = []; // read from the channel, for this step and those after it
    private readonly Task _running;
    private Exception? _failure;
    private long _toSettle;
    private long _toGrant;
    private long _toTake;
    private long _untaken;
    private int _replacedInStep;
    private long _next;
    private long _moves;
    private int _generating;
    private int _judging;

    /// <summary>Starts asking at once.</summary>
    /// <param name="options">Numbers.</param>
    /// <param name="prompts">Prompt of a number; its id is the number.</param>
    /// <param name="generate">Samples a group.</param>
    /// <param name="judge">Scores it.</param>
    /// <param name="selector">Decides whether it is trained on or replaced; null takes every group.</param>
    /// <param name="known">What <see cref="Untrained"/> was when an earlier pump ended at the same place in the data: these prompts are not asked again. Null: nothing.</param>
    public RolloutPump(
        PumpOptions options, Func<long, Prompt> prompts, Func<Prompt, CancellationToken, Task<RolloutGroup>> generate, RewardJudge judge,
        GroupSelector? selector = null, IReadOnlyList<ScoredGroup>? known = null)
    {
        _known = (known ?? []).ToDictionary(group => group.Group.Prompt.Id);
        (_options, _prompts, _generate, _judge) = (options, prompts, generate, judge);
        _selector = selector ?? new GroupSelector(null, options.PromptsPerStep);
        _next = _toSettle = options.FirstPrompt;
        _toTake = _untaken = options.Groups;
        _capacity = checked((options.MaxStaleness + 1) * options.PromptsPerStep);
        var first = (int)Math.Min(_capacity, options.Groups);
        _toGrant = options.Groups - first;
        _slots = new SemaphoreSlim(first);
        _settled = Channel.CreateBounded<Settled>(
            new BoundedChannelOptions(_capacity) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true });
        _running = Task.Run(RunAsync, CancellationToken.None);
    }

    /// <summary>The number of the first prompt that no step has taken: what a checkpoint stores as the place in the data.</summary>
    public long NextPrompt => _next;

    /// <summary>
    /// Groups that are judged and that no step has taken, in prompt order. Together with <see cref="NextPrompt"/> they are all that
    /// going on needs: a group keeps its place and its age, whoever samples what is missing.
    /// </summary>
    public IReadOnlyList<ScoredGroup> Untrained()
    {
        lock (_gate) return [.. _untrained.Values];
    }

    /// <summary>
    /// A number that changes whenever a group moves on, and the stage that groups are waiting in: what a stall is told
    /// by.
    /// </summary>
    public (long Moves, string Stage) Progress =>
        (
            Volatile.Read(ref _moves),
            Volatile.Read(ref _generating) > 0 ? "rollout" : Volatile.Read(ref _judging) > 0 ? "rewards" : "prompts");

    /// <summary>Waits for the next step's groups.</summary>
    /// <param name="learner">The version they will be trained into; every group is checked against the staleness bound.</param>
    /// <param name="cancel">Gives up waiting; the groups stay for the next call.</param>
    /// <exception cref="InvalidOperationException">A group is older than admission allows: a bug in an engine or in this class.</exception>
    public async Task<RolloutStep> TakeStepAsync(PolicyVersion learner, CancellationToken cancel)
    {
        var awaited = Math.Min(_untaken, _options.ExactStaleness ? _capacity : _options.PromptsPerStep);
        while (_taking.Count < awaited) _taking.Add(await ReadAsync(cancel).ConfigureAwait(false));
        var taken = _taking[.._options.PromptsPerStep];
        var step = new RolloutStep([.. taken.Select(settled => settled.Taken)], [.. taken.SelectMany(settled => settled.ReplacedBefore)]);
        foreach (var group in step.Groups) CheckStaleness(group, learner);
        _next = step.Groups[^1].Group.Prompt.Id + 1;
        _untaken -= taken.Count;
        _taking.RemoveRange(0, taken.Count);
        lock (_gate)
            foreach (var group in step.Sampled) _untrained.Remove(group.Group.Prompt.Id);
        return step;
    }

    /// <summary>Reopens the slots of groups that were trained on. Call it when the version they led to is being served.</summary>
    public void Release(int groups)
    {
        lock (_gate)
        {
            var granted = (int)Math.Min(groups, _toGrant); // near the run's end fewer prompts are needed
            _toGrant -= granted;
            if (granted > 0) _slots.Release(granted);
        }
    }

    /// <summary>Stops asking, cancels what is under way and waits for it to end.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        _stop.Dispose();
        _slots.Dispose();
    }

    /// <summary>The next finished group; when the pump has failed, its failure itself.</summary>
    private async Task<Settled> ReadAsync(CancellationToken cancel)
    {
        try
        {
            return await _settled.Reader.ReadAsync(cancel).ConfigureAwait(false);
        }
        catch (ChannelClosedException closed) when (closed.InnerException is { } cause)
        {
            ExceptionDispatchInfo.Throw(cause);
            throw;
        }
    }

    private void CheckStaleness(ScoredGroup group, PolicyVersion learner)
    {
        var staleness = learner - group.Group.OldestVersion;
        if (staleness < 0 || staleness > _options.MaxStaleness)
            throw new InvalidOperationException(
                $"Prompt {group.Group.Prompt.Id} was sampled by {group.Group.OldestVersion} and would be trained on at {learner}: "
                + $"staleness {staleness}, allowed 0 to {_options.MaxStaleness}.");
    }

    /// <summary>Admits prompts one by one and, in every path, waits for all of them and completes the channel.</summary>
    private async Task RunAsync()
    {
        var underWay = new List<Task>();
        try
        {
            for (var number = _options.FirstPrompt; Interlocked.Read(ref _toTake) > 0; number++)
            {
                await _slots.WaitAsync(_stop.Token).ConfigureAwait(false);
                if (Interlocked.Read(ref _toTake) == 0) break;
                underWay.RemoveAll(task => task.IsCompleted);
                underWay.Add(ProduceAsync(number));
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // A failed group or the owner stopped admission; the failure, if any, is in _failure.
        }
        await Task.WhenAll(underWay).ConfigureAwait(false);
        _settled.Writer.TryComplete(_failure);
    }

    /// <summary>One group from prompt to channel, or, where it is known already, at once into it. Never throws: the first failure is kept and stops everything.</summary>
    private async Task ProduceAsync(long number)
    {
        try
        {
            if (_known.Remove(number, out var known))
            {
                Settle(known);
                Interlocked.Increment(ref _moves);
                return;
            }
            Interlocked.Increment(ref _generating);
            RolloutGroup group;
            try
            {
                group = await _generate(_prompts(number), _stop.Token).ConfigureAwait(false);
            }
            finally
            {
                Move(ref _generating);
            }
            Interlocked.Increment(ref _judging);
            try
            {
                Settle(await _judge.JudgeAsync(group, _stop.Token).ConfigureAwait(false));
            }
            finally
            {
                Move(ref _judging);
            }
        }
        catch (Exception failure)
        {
            if (!_stop.IsCancellationRequested) Interlocked.CompareExchange(ref _failure, failure, null);
            await _stop.CancelAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Decides about a group and those behind it, as far as they have been judged: in prompt order.</summary>
    private void Settle(ScoredGroup judged)
    {
        lock (_gate)
        {
            _early.Add(judged.Group.Prompt.Id, judged);
            _untrained.Add(judged.Group.Prompt.Id, judged);
            while (_early.Remove(_toSettle, out var group))
            {
                _toSettle++;
                if (_replacedInStep < _selector.MostReplaced && !_selector.IsUseful(group)) Replace(group);
                else Take(group);
            }
        }
    }

    private void Replace(ScoredGroup group)
    {
        _replaced.Add(group);
        _replacedInStep++;
        _slots.Release();
    }

    private void Take(ScoredGroup group)
    {
        if (!_settled.Writer.TryWrite(new Settled(group, [.. _replaced])))
            throw new InvalidOperationException("There are more groups than slots: a bug in this class.");
        _replaced.Clear();
        Interlocked.Decrement(ref _toTake);
        if ((_options.Groups - _toTake) % _options.PromptsPerStep == 0) _replacedInStep = 0;
        if (_toTake == 0) _slots.Release(); // admission wakes up and ends
    }

    private void Move(ref int stage)
    {
        Interlocked.Decrement(ref stage);
        Interlocked.Increment(ref _moves);
    }

    /// <summary>A group that has its place in a step, and those that were replaced since the one before it.</summary>
    private sealed record Settled(ScoredGroup Taken, IReadOnlyList<ScoredGroup> ReplacedBefore);
}
