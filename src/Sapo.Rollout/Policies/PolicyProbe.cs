using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Policies;

/// <summary>Replays the learner's probe sequences through the decode path itself: prefill of the first half, forced tokens for the rest.</summary>
internal static class PolicyProbe
{
    /// <summary>
    /// Largest accepted difference in log-prob. Two sound fp32 implementations of the same weights differ by about 1e-6 to
    /// 1e-5 through the order of their sums; a stale, swapped or misread tensor moves log-probs by far more than 1e-3.
    /// </summary>
    public const double Tolerance = 1e-4;

    /// <summary>Checks a session.</summary>
    /// <param name="session">Its first rows are overwritten, one per sequence.</param>
    /// <param name="rows">The session's buffers, with at least one row per sequence.</param>
    /// <param name="probe">What the learner says.</param>
    /// <returns>The largest difference.</returns>
    /// <exception cref="SwapFailedException">It is above <see cref="Tolerance"/>.</exception>
    public static double Check(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe)
    {
        if (probe.Count == 0) return 0;
        var steps = 0;
        var starts = new int[probe.Count];
        for (var row = 0; row < probe.Count; row++)
        {
            var ids = probe[row].TokenIds;
            starts[row] = Math.Min(ids.Length / 2, ids.Length - 2);
            if (starts[row] > 0) session.Prefill(row, ids.AsSpan(0, starts[row]), position: 0);
            steps = Math.Max(steps, ids.Length - 1 - starts[row]);
        }
        var worst = new Difference(0, 0, 0, 0, 0);
        for (var step = 0; step < steps; step++) worst = Step(session, rows, probe, starts, step, worst);
        rows.ForcedTokens.Span[..probe.Count].Fill(RowBuffers.NoForcedToken);
        if (!(worst.Size <= Tolerance)) throw new SwapFailedException(session.Version, worst.Sequence, worst.Position, worst.Expected, worst.Found);
        return worst.Size;
    }

    private static Difference Step(IDecodeSession session, RowBuffers rows, IReadOnlyList<ProbeSequence> probe, int[] starts, int step, Difference worst)
    {
        for (var row = 0; row < probe.Count; row++)
        {
            var position = Position(probe[row], starts[row], step);
            rows.InputIds.Span[row] = probe[row].TokenIds[position];
            rows.Lengths.Span[row] = position;
            rows.ForcedTokens.Span[row] = probe[row].TokenIds[position + 1];
        }
        session.Decode(0, probe.Count, truncate: false);
        for (var row = 0; row < probe.Count; row++)
        {
            var next = Position(probe[row], starts[row], step) + 1;
            double expected = probe[row].LogProbs[next], found = rows.UntruncatedLogProbs.Span[row];
            var size = Math.Abs(expected - found);
            if (!(size <= worst.Size)) worst = new Difference(double.IsNaN(size) ? double.PositiveInfinity : size, row, next, expected, found);
        }
        return worst;
    }

    // A sequence that is shorter than another repeats its last step.
    private static int Position(ProbeSequence sequence, int start, int step) => Math.Min(start + step, sequence.TokenIds.Length - 2);

    private readonly record struct Difference(double Size, int Sequence, int Position, double Expected, double Found);
}
