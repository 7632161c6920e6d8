namespace Sapo.Rollout.Scheduling;

/// <summary>Completions whose rows began as copies of one computed prompt: to the last bit they hold the same keys and values there, so a step may read them in the place of any.</summary>
/// <param name="length">Positions that were copied.</param>
internal sealed class PromptCopies(int length)
{
    private long _step = -1;
    private int _row;

    /// <summary>Positions that were copied.</summary>
    public int Length => length;

    /// <summary>The row of a step in whose place its rows read: the first that asks.</summary>
    /// <param name="step">Number of the step.</param>
    /// <param name="row">The row that asks.</param>
    public int RowOf(long step, int row)
    {
        if (_step != step) (_step, _row) = (step, row);
        return _row;
    }
}
