namespace Sapo.Rollout.Scheduling;

/// <summary>A request on its way through the scheduler. Created by the caller's thread, then touched by the scheduler's only.</summary>
internal sealed class GroupTask : IDisposable
{
    private readonly TaskCompletionSource<RolloutGroup> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Completion?[] _completions;
    private readonly CancellationTokenRegistration _cancellation;
    private int _started, _finished;

    /// <param name="request">Checked.</param>
    /// <param name="stopTokenIds">Ids that end a completion.</param>
    /// <param name="maxNewTokens">Most tokens per completion: the request's limit or what the context leaves.</param>
    /// <param name="cancelled">Called once when the caller cancels, on the caller's thread.</param>
    /// <param name="cancel">The caller's token.</param>
    public GroupTask(GenerationRequest request, int[] stopTokenIds, int maxNewTokens, Action cancelled, CancellationToken cancel)
    {
        (Request, StopTokenIds, MaxNewTokens) = (request, stopTokenIds, maxNewTokens);
        _completions = new Completion?[request.GroupSize];
        _cancellation = cancel.Register(() =>
        {
            _result.TrySetCanceled(cancel);
            cancelled();
        });
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    /// <summary>Ids that end a completion.</summary>
    public int[] StopTokenIds { get; }

    /// <summary>Most tokens per completion.</summary>
    public int MaxNewTokens { get; }

    /// <summary>What is computed once per group: the prompt without its last token, which is every completion's first input.</summary>
    public ReadOnlySpan<int> SharedTokens => Request.Prompt.TokenIds.AsSpan(0, Request.Prompt.TokenIds.Length - 1);

    /// <summary>What the completions started next share; null until one has started under the version that is active.</summary>
    public PromptCopies? Copies { get; set; }

    /// <summary>The caller's result.</summary>
    public Task<RolloutGroup> Result => _result.Task;

    /// <summary>True when nobody waits for this group any more: cancelled, failed or done.</summary>
    public bool IsOver => _result.Task.IsCompleted;

    /// <summary>True when completions are left to start.</summary>
    public bool HasUnstarted => _started < _completions.Length;

    /// <summary>Takes the next sample index to start.</summary>
    public int StartNext() => Request.FirstSampleIndex + _started++;

    /// <summary>Takes in a finished completion.</summary>
    /// <returns>True when it was the last one: the group can be delivered.</returns>
    public bool Finish(Completion completion)
    {
        _completions[completion.SampleIndex - Request.FirstSampleIndex] = completion;
        Request.CompletionFinished?.Invoke(completion);
        return ++_finished == _completions.Length;
    }

    /// <summary>Gives the caller its result.</summary>
    public void Deliver()
    {
        _result.TrySetResult(new RolloutGroup(Request.Prompt, _completions!, Request.Sampling));
        Dispose();
    }

    /// <summary>Fails the result.</summary>
    public void Fail(Exception cause)
    {
        _result.TrySetException(cause);
        Dispose();
    }

    /// <inheritdoc />
    public void Dispose() => _cancellation.Dispose();
}
