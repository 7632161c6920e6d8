using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Scheduling;

/// <summary>
/// The slots that one session decodes: neighbouring rows that begin at one end of the slot range. At most two lanes live
/// at a time, one from each end, so that an old version can finish its completions while the new one takes every slot
/// that becomes free, and each is a single batch. Row 0 and the row behind the last slot stay idle: one lies outside each lane.
/// </summary>
internal sealed class Lane(IDecodeSession session, int slots, bool fromTop)
{
    private readonly RunningSample?[] _samples = new RunningSample?[slots];

    /// <summary>The session; a swap in flight replaces it.</summary>
    public IDecodeSession Session { get; private set; } = session;

    /// <summary>Called once, after the session's first decode step.</summary>
    public Action? FirstStep { get; private set; }

    /// <summary>True when the lane grows downward from the last slot.</summary>
    public bool FromTop { get; } = fromTop;

    /// <summary>Rows from the lane's end to its last occupied one, gaps included.</summary>
    public int Extent { get; private set; }

    /// <summary>Running completions.</summary>
    public int Running { get; private set; }

    /// <summary>The lowest row of the extent.</summary>
    public int FirstRow => FromTop ? slots - Extent + 1 : 1;

    /// <summary>The idle row next to the lane's end: keeps a lone row company where a session wants more than one.</summary>
    public int IdleRow => FromTop ? slots + 1 : 0;

    /// <summary>Rows a number of slots needs, the idle ones included.</summary>
    public static int RowsFor(int slots) => slots + 2;

    /// <summary>The running completion in a row of the extent, or null in a gap.</summary>
    public RunningSample? this[int row] => _samples[Index(row)];

    /// <summary>Takes another session; the caller disposes the one that is returned.</summary>
    public IDecodeSession Replace(IDecodeSession session, Action? firstStep)
    {
        var old = Session;
        (Session, FirstStep) = (session, firstStep);
        return old;
    }

    /// <summary>Says that the session has decoded.</summary>
    public void Stepped()
    {
        FirstStep?.Invoke();
        FirstStep = null;
    }

    /// <summary>Puts a completion into a gap, or behind the last row; the caller knows that there is room.</summary>
    /// <returns>The row.</returns>
    public int Add(RunningSample sample)
    {
        var index = Running == Extent ? Extent++ : Array.IndexOf(_samples, null, 0, Extent);
        _samples[index] = sample;
        Running++;
        return Row(index);
    }

    /// <summary>Takes a completion out; its row becomes a gap.</summary>
    public RunningSample Remove(int row)
    {
        var sample = _samples[Index(row)]!;
        _samples[Index(row)] = null;
        Running--;
        return sample;
    }

    /// <summary>Closes all gaps by moving the outermost completions into them.</summary>
    /// <param name="move">Copies a row: from, to, number of positions.</param>
    public void Compact(Action<int, int, int> move)
    {
        for (var gap = 0; Running < Extent; gap++)
        {
            while (Extent > 0 && _samples[Extent - 1] is null) Extent--;
            if (gap >= Extent || _samples[gap] is not null) continue;
            var last = Extent - 1;
            move(Row(last), Row(gap), _samples[last]!.Position);
            (_samples[gap], _samples[last]) = (_samples[last], null);
            Extent--;
        }
    }

    private int Row(int index) => FromTop ? slots - index : 1 + index;

    private int Index(int row) => FromTop ? slots - row : row - 1;
}
