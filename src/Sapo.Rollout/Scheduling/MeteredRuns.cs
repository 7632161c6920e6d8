using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>Everything a session is asked to do, counted and timed.</summary>
/// <param name="time">The clock.</param>
/// <param name="trace">Where each run is noted too, or null.</param>
internal sealed class MeteredRuns(TimeProvider time, EngineTrace? trace)
{
    /// <summary>The row of a trace that shows the scheduler's thread.</summary>
    public const string Thread = "engine";

    private SchedulerCounts _counts;

    /// <summary>The counts so far.</summary>
    public ref SchedulerCounts Counts => ref _counts;

    /// <summary>See <see cref="IDecodeSession.Prefill"/>.</summary>
    public void Prefill(IDecodeSession session, int row, ReadOnlySpan<int> tokens, int position)
    {
        var (start, before) = (time.GetTimestamp(), session.PrefilledTokens);
        session.Prefill(row, tokens, position);
        _counts.PrefillSeconds += time.GetElapsedTime(start).TotalSeconds;
        _counts.PromptTokensComputed += session.PrefilledTokens - before;
        trace?.Add(Thread, "prefill", start, "tokens", tokens.Length);
    }

    /// <summary>See <see cref="IDecodeSession.CopyRow"/>.</summary>
    public void Copy(IDecodeSession session, int from, int to, int length)
    {
        var start = time.GetTimestamp();
        session.CopyRow(from, to, length);
        _counts.CopySeconds += time.GetElapsedTime(start).TotalSeconds;
        trace?.Add(Thread, "copy", start, "positions", length);
    }

    /// <summary>One decode step of a lane, with its idle row where the session wants company for a lone one.</summary>
    public void Decode(Lane lane, bool truncate)
    {
        var (start, before) = (time.GetTimestamp(), lane.Session.PrefilledTokens);
        if (lane.Extent >= lane.Session.MinimumRows) lane.Session.Decode(lane.FirstRow, lane.Extent, truncate);
        else lane.Session.Decode(Math.Min(lane.FirstRow, lane.IdleRow), lane.Extent + 1, truncate);
        _counts.DecodeSeconds += time.GetElapsedTime(start).TotalSeconds;
        _counts.PromptTokensComputed += lane.Session.PrefilledTokens - before;
        _counts.DecodeSteps++;
        _counts.GeneratedTokens += lane.Running;
        trace?.Add(Thread, "decode step", start, "rows", lane.Running);
    }

    /// <summary>Disposes a session that another one has replaced: its weights are unmapped, which decoding waits for.</summary>
    public void Retire(IDecodeSession session)
    {
        var start = time.GetTimestamp();
        session.Dispose();
        _counts.SwapSeconds += time.GetElapsedTime(start).TotalSeconds;
        trace?.Add(Thread, "retire", start, "version", session.Version.Value);
    }

    /// <summary>Notes a turn of the scheduler that had work: what its runs do not cover is scheduling.</summary>
    /// <param name="start">When it began.</param>
    /// <param name="busy">Slots with a completion.</param>
    public void Turn(long start, int busy)
    {
        if (trace is null) return;
        trace.Add(Thread, "turn", start);
        trace.Count("busy slots", busy);
    }
}
