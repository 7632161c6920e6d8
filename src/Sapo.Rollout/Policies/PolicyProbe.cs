using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>
/// Replays the learner's probe sequences through the decode path itself. A sequence is prefilled into one row; then each of
/// its positions gets a row of its own, a copy up to that position, and a decode step forces the token that follows. So every
/// token's log-prob is checked, through prefill, row copies and decode, in few runs: one per sequence and one per 32 tokens.
/// </summary>
internal static class PolicyProbe
{
    /// <summary>
    /// Largest accepted difference in log-prob. Two sound fp32 implementations of the same weights differ by about 1e-6 to
    /// 1e-5 through the order of their sums; a stale, swapped or misread tensor moves log-probs by far more than 1e-3.
    /// </summary>
    public const double Tolerance = 1e-4;

    /// <summary>Rows that <see cref="Check"/> works in: one for the sequence, the others for positions.</summary>
    public const int Rows = 33; // so that one step checks 32 positions, the most that GenAI takes

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
        var asked = new List<(int Sequence, int Position)>(Rows - 1); // what each row of the next step predicts
        for (var sequence = 0; sequence < probe.Count; sequence++)
        {
            var ids = probe[sequence].TokenIds;
            session.Prefill(row: 0, ids.AsSpan(0, ids.Length - 1), position: 0);
            for (var next = 1; next < ids.Length; next++)
            {
                asked.Add((sequence, next));
                var row = asked.Count;
                session.CopyRow(0, row, next - 1);
                rows.InputIds.Span[row] = ids[next - 1];
                rows.Lengths.Span[row] = next - 1;
                rows.ForcedTokens.Span[row] = ids[next];
                if (asked.Count == Rows - 1) worst = Step(session, rows, probe, asked, worst);
            }
        }
        if (asked.Count > 0) worst = Step(session, rows, probe, asked, worst);
        if (!(worst.Size <= Tolerance)) throw new SwapFailedException(session.Version, worst.Sequence, worst.Position, worst.Expected, worst.Found);
        return worst.Size;
    }

    private static Difference Step(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe, List<(int Sequence, int Position)> asked, Difference worst)
    {
        session.Decode(1, asked.Count, truncate: false);
        foreach (var (index, (sequence, position)) in asked.Index())
        {
            double expected = probe[sequence].LogProbs[position], found = rows.UntruncatedLogProbs.Span[1 + index];
            var size = Math.Abs(expected - found);
            if (!(size <= worst.Size)) worst = new Difference(double.IsNaN(size) ? double.PositiveInfinity : size, sequence, position, expected, found);
        }
        asked.Clear();
        return worst;
    }

    private readonly record struct Difference(double Size, int Sequence, int Position, double Expected, double Found);
}
