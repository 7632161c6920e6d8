// prompt n -> engine -> rewards -> bounded channel -> TakeStepAsync, in prompt order.
//
//   admission ---- slot ----> generate ----> judge ----> channel ----> TakeStepAsync -> trained on, published, swapped
//       ^                                                                                          |
//       '------------------------------- Release (after the swap) --------------------------------'
//
// There are (maxStaleness + 1) * promptsPerStep slots. A prompt takes one before it is asked and keeps it until the step
// that trained on it has been published and swapped in. When prompt n is admitted under version v, fewer than that many
// prompts are ahead of it, and groups are taken in prompt order, so at most maxStaleness steps lie between: the bound
// needs no group to be thrown away. With maxStaleness 0 this is synchronous training, with the same code.
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

    /// <summary>The first prompt's number: the place in the data.</summary>
    public required long FirstPrompt { get; init; }

    /// <summary>Prompts from this number on are not asked: the run ends before them.</summary>
    public required long EndPrompt { get; init; }
}

/// <summary>
/// Keeps the engine supplied with prompts and the learner with judged groups. A failure anywhere stops admission,
/// cancels what is under way and surfaces in <see cref="TakeStepAsync"/>.
/// </summary>
public sealed class RolloutPump : IAsyncDisposable
{
    private readonly PumpOptions _options;
    private readonly Func<long, Prompt> _prompts;
    private readonly Func<Prompt, CancellationToken, Task<RolloutGroup>> _generate;
    private readonly RewardJudge _judge;
    private readonly Channel<ScoredGroup> _scored;
    private readonly SemaphoreSlim _slots;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<long, ScoredGroup> _early = [];
    private readonly Task _running;
    private Exception? _failure;
    private long _next;
    private long _moves;
    private int _generating;
    private int _judging;

    /// <summary>Starts asking at once.</summary>
    /// <param name="options">Numbers.</param>
    /// <param name="prompts">Prompt of a number; its id is the number.</param>
    /// <param name="generate">Samples a group.</param>
    /// <param name="judge">Scores it.</param>
    public RolloutPump(
        PumpOptions options, Func<long, Prompt> prompts, Func<Prompt, CancellationToken, Task<RolloutGroup>> generate, RewardJudge judge)
    {
        (_options, _prompts, _generate, _judge, _next) = (options, prompts, generate, judge, options.FirstPrompt);
        var capacity = checked((options.MaxStaleness + 1) * options.PromptsPerStep);
        _slots = new SemaphoreSlim(capacity, capacity);
        _scored = Channel.CreateBounded<ScoredGroup>(
            new BoundedChannelOptions(capacity) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true });
        _running = Task.Run(RunAsync, CancellationToken.None);
    }

    /// <summary>The number of the first prompt that no step has taken: what a checkpoint stores as the place in the data.</summary>
    public long NextPrompt => _next;

    /// <summary>
    /// A number that changes whenever a group moves on, and the stage that groups are waiting in: what a stall is told
    /// by.
    /// </summary>
    public (long Moves, string Stage) Progress =>
        (
            Volatile.Read(ref _moves),
            Volatile.Read(ref _generating) > 0 ? "rollout" : Volatile.Read(ref _judging) > 0 ? "rewards" : "prompts");

    /// <summary>Waits for the next promptsPerStep groups, in prompt order.</summary>
    /// <param name="learner">The version they will be trained into; every group is checked against the staleness bound.</param>
    /// <param name="cancel">Gives up waiting; the groups stay for the next call.</param>
    /// <exception cref="InvalidOperationException">A group is older than admission allows: a bug in an engine or in this class.</exception>
    public async Task<IReadOnlyList<ScoredGroup>> TakeStepAsync(PolicyVersion learner, CancellationToken cancel)
    {
        var numbers = Enumerable.Range(0, _options.PromptsPerStep).Select(i => _next + i).ToArray();
        while (!numbers.All(_early.ContainsKey))
        {
            var group = await ReadAsync(cancel).ConfigureAwait(false);
            _early.Add(group.Group.Prompt.Id, group);
        }
        var taken = Array.ConvertAll(numbers, number => _early[number]);
        foreach (var group in taken) CheckStaleness(group, learner);
        foreach (var number in numbers) _early.Remove(number);
        _next += taken.Length;
        return taken;
    }

    /// <summary>Reopens the slots of groups that were trained on. Call it when the version they led to is being served.</summary>
    public void Release(int groups) => _slots.Release(groups);

    /// <summary>Stops asking, cancels what is under way and waits for it to end.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        _stop.Dispose();
        _slots.Dispose();
    }

    /// <summary>The next finished group; when the pump has failed, its failure itself.</summary>
    private async Task<ScoredGroup> ReadAsync(CancellationToken cancel)
    {
        try
        {
            return await _scored.Reader.ReadAsync(cancel).ConfigureAwait(false);
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
            for (var number = _options.FirstPrompt; number < _options.EndPrompt; number++)
            {
                await _slots.WaitAsync(_stop.Token).ConfigureAwait(false);
                underWay.RemoveAll(task => task.IsCompleted);
                underWay.Add(ProduceAsync(number));
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // A failed group or the owner stopped admission; the failure, if any, is in _failure.
        }
        await Task.WhenAll(underWay).ConfigureAwait(false);
        _scored.Writer.TryComplete(_failure);
    }

    /// <summary>One group from prompt to channel. Never throws: the first failure is kept and stops everything.</summary>
    private async Task ProduceAsync(long number)
    {
        try
        {
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
                await _scored.Writer.WriteAsync(
                    await _judge.JudgeAsync(group, _stop.Token).ConfigureAwait(false), _stop.Token).ConfigureAwait(false);
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

    private void Move(ref int stage)
    {
        Interlocked.Decrement(ref stage);
        Interlocked.Increment(ref _moves);
    }
}
