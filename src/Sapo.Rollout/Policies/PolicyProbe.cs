using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>
/// Replays the learner's probe sequences through the decode path itself. A sequence is prefilled into one row; then each of
/// its positions gets a row of its own, a copy up to that position, and a decode step forces the token that follows. So every
/// token's log-prob is checked, through prefill, row copies and decode, in few runs.
/// </summary>
internal static class PolicyProbe
{
    /// <summary>
    /// Largest accepted difference in log-prob. Two sound fp32 implementations of the same weights differ by about 1e-6 to
    /// 1e-5 through the order of their sums; a stale, swapped or misread tensor moves log-probs by far more than 1e-3.
    /// </summary>
    public const double Tolerance = 1e-4;

    /// <summary>Rows that <see cref="Check"/> works in: one for the sequence, the others for positions.</summary>
    public const int Rows = 17;

    /// <summary>Positions each of the rows needs.</summary>
    public static int PositionsFor(IReadOnlyList<ProbeSequence> probe) => probe.Max(sequence => sequence.TokenIds.Length) + 1;

    /// <summary>Checks a session.</summary>
    /// <param name="session">Its first <see cref="Rows"/> rows are overwritten; each has <see cref="PositionsFor"/> positions.</param>
    /// <param name="rows">The session's buffers, as they are made.</param>
    /// <param name="probe">What the learner says.</param>
    /// <returns>The largest difference.</returns>
    /// <exception cref="SwapFailedException">It is above <see cref="Tolerance"/>.</exception>
    public static double Check(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe)
    {
        var worst = new Difference(0, 0, 0, 0, 0);
        for (var sequence = 0; sequence < probe.Count; sequence++)
        {
            var ids = probe[sequence].TokenIds;
            session.Prefill(row: 0, ids, position: 0);
            for (var position = 0; position < ids.Length - 1; position += Rows - 1)
                worst = Step(session, rows, probe[sequence], sequence, position, worst);
        }
        if (!(worst.Size <= Tolerance)) throw new SwapFailedException(session.Version, worst.Sequence, worst.Position, worst.Expected, worst.Found);
        return worst.Size;
    }

    private static Difference Step(IDecodeSession session, RowBuffers rows, ProbeSequence probe, int sequence, int firstPosition, Difference worst)
    {
        var count = Math.Min(Rows - 1, probe.TokenIds.Length - 1 - firstPosition);
        for (var i = 0; i < count; i++)
        {
            int row = 1 + i, position = firstPosition + i;
            session.CopyRow(0, row, position);
            rows.InputIds.Span[row] = probe.TokenIds[position];
            rows.Lengths.Span[row] = position;
            rows.ForcedTokens.Span[row] = probe.TokenIds[position + 1];
        }
        session.Decode(1, count, truncate: false);
        for (var i = 0; i < count; i++)
        {
            var next = firstPosition + i + 1;
            double expected = probe.LogProbs[next], found = rows.UntruncatedLogProbs.Span[1 + i];
            var size = Math.Abs(expected - found);
            if (!(size <= worst.Size)) worst = new Difference(double.IsNaN(size) ? double.PositiveInfinity : size, sequence, next, expected, found);
        }
        return worst;
    }

    private readonly record struct Difference(double Size, int Sequence, int Position, double Expected, double Found);
}
