// Which completion runs in which slot. Single-threaded: the scheduler's thread calls Admit and Step in turn.
//   - A group at the head of the line gets its prompt computed once, without the last token, into a prompt row.
//   - Each of its completions takes a free slot: the prompt row is copied there, and its first decode step feeds the
//     prompt's last token. So a completion of T tokens costs T slot-steps, and prompts of one token need no prefill.
//   - A slot that becomes free is refilled before the next step; where nothing waits, the rows close up, so that
//     free slots are not computed.
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>The slots, the prompts being computed for them, and the versions that decode them. Owns the sessions.</summary>
internal sealed class ContinuousBatch : IDisposable
{
    private readonly SchedulerSettings _settings;
    private readonly RowBuffers _rows;
    private readonly MeteredRuns _runs;
    private readonly PromptRows _promptRows;
    private readonly Stack<RunningSample> _idle = new();
    private readonly List<GroupTask> _finished = [];
    private readonly List<IDecodeSession> _retired = [];
    private readonly Action<int, int, int> _moveActive, _moveDraining;
    private Lane _active;
    private Lane? _draining;
    private GroupTask? _head;
    private PromptRows.Entry? _headPrompt;

    /// <summary>No completion yet; takes the session, borrows the buffers.</summary>
    public ContinuousBatch(IDecodeSession session, RowBuffers rows, SchedulerSettings settings, TimeProvider time, EngineTrace? trace)
    {
        (_rows, _settings, _runs) = (rows, settings, new MeteredRuns(time, trace));
        _active = new Lane(session, settings.Slots, fromTop: false);
        _promptRows = new PromptRows(Lane.RowsFor(settings.Slots), settings.PromptRows);
        _moveActive = (from, to, length) => Move(_active, from, to, length);
        _moveDraining = (from, to, length) => Move(_draining!, from, to, length);
    }

    /// <summary>The counts so far.</summary>
    public ref SchedulerCounts Counts => ref _runs.Counts;

    /// <summary>
    /// Installs a session. Of the active version: it takes the old one's place, keys and values stay. Of another version:
    /// new completions start on it; running ones go on under it, or finish on the old one in a lane of their own.
    /// </summary>
    /// <returns>False while an older version is still draining: try again later.</returns>
    public bool TrySwitch(IDecodeSession session, Action? firstStep)
    {
        if (session.Version == _active.Session.Version)
        {
            _retired.Add(_active.Replace(session, _active.FirstStep + firstStep)); // the version's first step may still be to come
            return true;
        }
        if (_active.Running == 0 || _settings.SwitchInFlight)
        {
            _retired.Add(_active.Replace(session, firstStep));
            if (_settings.RecomputeInFlight) Recompute();
        }
        else
        {
            if (_draining is not null) return false;
            _draining = _active;
            _active = new Lane(session, _settings.Slots, !_draining.FromTop);
            _active.Replace(session, firstStep);
        }
        _promptRows.Clear();
        _headPrompt = null;
        if (_head is not null) _head.Copies = null;
        Counts.Swaps++;
        return true;
    }

    /// <summary>Frees the slots of groups that nobody waits for any more.</summary>
    public void FreeAbandoned()
    {
        FreeWhere(_active, sample => sample.Group.IsOver);
        if (_draining is not null) FreeWhere(_draining, sample => sample.Group.IsOver);
    }

    /// <summary>Computes prompts, at most one chunk of tokens, and starts completions while there are free slots.</summary>
    /// <param name="next">Gives the next group in line, or null.</param>
    /// <returns>True when something was computed or started.</returns>
    public bool Admit(Func<GroupTask?> next)
    {
        if (_draining is not null) CloseGaps(_draining, _moveDraining);
        CloseGaps(_active, _moveActive);
        var mayStart = !_active.Session.StartsRowsTogether || _active.Running == 0;
        var budget = _settings.PrefillChunk;
        var advanced = false;
        while (true)
        {
            if (_head is null or { IsOver: true } or { HasUnstarted: false })
            {
                (_head, _headPrompt) = (next(), null);
                if (_head is null) return advanced;
                continue;
            }
            var before = budget;
            var ready = ComputePrompt(_head, ref budget);
            advanced |= budget < before;
            if (!ready || !mayStart) return advanced;
            if (!StartCompletions(_head, ref advanced)) return advanced;
        }
    }

    /// <summary>One decode step of every lane that has completions.</summary>
    /// <returns>True when there was one.</returns>
    public bool Step()
    {
        var running = Running;
        if (running == 0) return false;
        if (_head is { HasUnstarted: true, IsOver: false })
        {
            Counts.SlotStepsUsed += running;
            Counts.SlotStepsAvailable += _settings.Slots;
        }
        if (_draining is { Running: > 0 }) Step(_draining, _moveDraining);
        if (_active.Running > 0) Step(_active, _moveActive);
        if (_draining is { Running: 0 })
        {
            _retired.Add(_draining.Session);
            _draining = null;
        }
        return true;
    }

    /// <summary>Says that a turn with work has ended.</summary>
    /// <param name="start">When it began.</param>
    public void TurnDone(long start) => _runs.Turn(start, Running);

    /// <summary>Gives callers the groups that the last step finished.</summary>
    public void Deliver()
    {
        foreach (var group in _finished) group.Deliver();
        _finished.Clear();
    }

    /// <summary>Disposes the sessions that nothing runs on any more: after a step, so that a new version's first token does not wait for it.</summary>
    public void DisposeRetired()
    {
        foreach (var session in _retired) _runs.Retire(session);
        _retired.Clear();
    }

    /// <summary>Delivers what is finished, and fails every group that is running or at the head of the line.</summary>
    public void FailAll(Exception cause)
    {
        Deliver();
        _head?.Fail(cause);
        foreach (var lane in new[] { _active, _draining })
            if (lane is not null) FreeWhere(lane, sample => Failed(sample, cause));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        DisposeRetired();
        _active.Session.Dispose();
        _draining?.Session.Dispose();
    }

    private int Running => _active.Running + (_draining?.Running ?? 0);

    private static bool Failed(RunningSample sample, Exception cause)
    {
        sample.Group.Fail(cause);
        return true;
    }

    private void FreeWhere(Lane lane, Func<RunningSample, bool> condition)
    {
        for (int row = lane.FirstRow, end = row + lane.Extent; row < end; row++)
            if (lane[row] is { } sample && condition(sample)) _idle.Push(lane.Remove(row));
    }

    private bool ComputePrompt(GroupTask group, ref int budget)
    {
        var tokens = group.SharedTokens;
        if (tokens.Length == 0) return true;
        _headPrompt ??= _promptRows.Begin(tokens, _active.Session);
        while (!_headPrompt.IsReady)
        {
            if (budget <= 0) return false;
            var count = Math.Min(budget, tokens.Length - _headPrompt.Computed);
            _runs.Prefill(_active.Session, _headPrompt.Row, tokens.Slice(_headPrompt.Computed, count), _headPrompt.Computed);
            _headPrompt.Computed += count;
            budget -= count;
        }
        return true;
    }

    // True when all of the group's completions have a slot.
    private bool StartCompletions(GroupTask group, ref bool advanced)
    {
        var free = _settings.Slots - _active.Running - (_draining?.Extent ?? 0);
        for (; group.HasUnstarted && free > 0; free--)
        {
            var sample = _idle.TryPop(out var idle) ? idle : new RunningSample();
            var stops = group.Request.Sampling.StopStrings;
            sample.Start(group, group.StartNext(), stops.Count == 0 ? null : new StopText(_settings.TextDecoder!(), stops));
            var row = _active.Add(sample);
            if (_headPrompt is not null) _runs.Copy(_active.Session, _headPrompt.Row, row, group.SharedTokens.Length);
            _rows.SetDraw(row, group.Request.Sampling, group.Request.Prompt.TokenIds, group.Request.Alternatives);
            Counts.PromptTokensRequested += group.SharedTokens.Length;
            advanced = true;
        }
        return !group.HasUnstarted;
    }

    // Done rows stay in their places until all are, where a session cannot replace them.
    private static void CloseGaps(Lane lane, Action<int, int, int> move)
    {
        if (!lane.Session.StartsRowsTogether || lane.Running == 0) lane.Compact(move);
    }

    private void Move(Lane lane, int from, int to, int length)
    {
        _runs.Copy(lane.Session, from, to, length);
        _rows.CopyInputs(from, to);
    }

    private void Step(Lane lane, Action<int, int, int> move)
    {
        CloseGaps(lane, move);
        var truncate = false;
        int first = lane.FirstRow, end = first + lane.Extent;
        for (var row = first; row < end; row++)
        {
            if (lane[row] is not { } sample)
            {
                (_rows.InputIds.Span[row], _rows.SharedWith.Span[row]) = (RowBuffers.IdleRow, 0);
                continue;
            }
            _rows.Feed(row, sample.NextInput, sample.Position, sample.NextUniform);
            _rows.SharedWith.Span[row] = sample.Copies.RowOf(Counts.DecodeSteps, row) - row;
            _rows.SharedLengths.Span[row] = sample.Copies.Length;
            truncate |= sample.Group.Request.Sampling.Truncates;
        }
        _rows.InputIds.Span[lane.IdleRow] = RowBuffers.IdleRow;
        _runs.Decode(lane, truncate);
        for (var row = first; row < end; row++)
            if (lane[row] is { } sample) Collect(lane, row, sample);
        lane.Stepped();
    }

    private void Collect(Lane lane, int row, RunningSample sample)
    {
        var logProb = _rows.SampledLogProbs.Span[row];
        if (!float.IsFinite(logProb))
            throw new RolloutException(
                $"Policy {lane.Session.Version} gave the log-prob {logProb} for prompt {sample.Group.Request.Prompt.Id}, sample {sample.SampleIndex}, position {sample.Count}: its weights are broken, or the temperature is too small for its logits.");
        try
        {
            if (sample.Group.Request.Sampling.Truncates) sample.AppendKept(_rows.KeptIdsOf(row), _rows.KeptCounts.Span[row]);
            if (sample.Group.Request.Alternatives > 0) sample.AppendAlternatives(_rows.AlternativeIdsOf(row), _rows.AlternativeLogProbsOf(row));
            var reason = sample.Append((int)_rows.SampledTokens.Span[row], logProb, _rows.UntruncatedLogProbs.Span[row], lane.Session.Version);
            if (reason is { } finished) Finish(lane, row, sample, finished);
        }
        catch (Exception failure) // of the caller's own callback or decoder: its group fails, the others go on
        {
            sample.Group.Fail(failure);
        }
    }

    private void Finish(Lane lane, int row, RunningSample sample, FinishReason reason)
    {
        var completion = sample.ToCompletion(reason);
        Counts.Completions++;
        if (reason == FinishReason.Length) Counts.TruncatedCompletions++;
        if (completion.KeptTokenIds is null && sample.Group.Request.Sampling.Truncates) Counts.CompletionsWithoutKeptIds++;
        _idle.Push(lane.Remove(row));
        if (sample.Group.Finish(completion)) _finished.Add(sample.Group);
    }

    private void Recompute()
    {
        for (int row = _active.FirstRow, end = row + _active.Extent; row < end; row++)
        {
            if (_active[row] is not { } sample) continue;
            var fed = sample.FedTokens();
            for (var at = 0; at < fed.Length; at += _settings.PrefillChunk)
                _runs.Prefill(_active.Session, row, fed.AsSpan(at, Math.Min(_settings.PrefillChunk, fed.Length - at)), at);
        }
    }
}
