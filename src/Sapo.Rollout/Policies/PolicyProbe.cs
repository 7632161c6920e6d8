using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>
/// Replays the learner's probe sequences through the decode path itself. A sequence is prefilled into one row; then each of
/// its positions gets a row of its own, a copy up to that position, and a decode step forces the token that follows. So every
/// token's log-prob is checked, through prefill, row copies and decode, in few runs: one per sequence and one per 32 tokens.
/// </summary>
internal static class PolicyProbe
{
    /// <summary>Rows that <see cref="Check"/> works in: one for the sequence, the others for positions.</summary>
    public const int Rows = 33; // so that one step checks 32 positions, the most that GenAI takes

    /// <summary>Positions each of the rows needs.</summary>
    public static int PositionsFor(IReadOnlyList<ProbeSequence> probe) => probe.Max(sequence => sequence.TokenIds.Length) + 1;

    /// <summary>Checks a session.</summary>
    /// <param name="session">Its first <see cref="Rows"/> rows are overwritten; each has <see cref="PositionsFor"/> positions.</param>
    /// <param name="rows">The session's buffers, as they are made.</param>
    /// <param name="probe">What the learner says: at least one sequence.</param>
    /// <param name="tolerance">How far it may be off.</param>
    /// <returns>How far it is off.</returns>
    /// <exception cref="SwapFailedException">Further than it may be.</exception>
    public static LogProbMismatch Check(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe, ProbeTolerance tolerance)
    {
        var found = new List<Difference>();
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
                if (asked.Count == Rows - 1) Step(session, rows, probe, asked, found);
            }
        }
        if (asked.Count > 0) Step(session, rows, probe, asked, found);
        var worst = found.MaxBy(difference => difference.Size)!;
        var mismatch = new LogProbMismatch(found.Count, found.Average(difference => difference.Size), worst.Size, found.Average(difference => difference.KlTerm));
        return tolerance.Holds(mismatch) ? mismatch : throw new SwapFailedException(session.Version, (worst.Sequence, worst.Position), worst.Expected, worst.Found, mismatch, tolerance);
    }

    private static void Step(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe, List<(int Sequence, int Position)> asked, List<Difference> found)
    {
        session.Decode(1, asked.Count, truncate: false);
        foreach (var (index, (sequence, position)) in asked.Index()) found.Add(new Difference(sequence, position, probe[sequence].LogProbs[position], rows.UntruncatedLogProbs.Span[1 + index]));
        asked.Clear();
    }

    private sealed record Difference(int Sequence, int Position, double Expected, double Found)
    {
        /// <summary>Infinite where a log-prob is no number, so that it is the worst.</summary>
        public double Size => double.IsNaN(Found) ? double.PositiveInfinity : Math.Abs(Expected - Found);

        public double KlTerm => double.IsNaN(Found) ? double.PositiveInfinity : Math.Exp(Found - Expected) - 1 - (Found - Expected);
    }
}
