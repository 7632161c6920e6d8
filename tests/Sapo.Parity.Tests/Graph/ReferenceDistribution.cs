namespace Sapo.Parity.Graph;

/// <summary>A distribution from full logits by the definitions, in float64 on the host.</summary>
/// <param name="Untruncated">Log-probs after penalties and temperature.</param>
/// <param name="Final">Log-probs after truncation; -infinity for ids that were cut.</param>
/// <param name="Margin">How near top-p or min-p came to cutting another set: 1 when neither is on, 0 when top-p cuts between equal scores.</param>
internal sealed record ReferenceDistribution(double[] Untruncated, double[] Final, double Margin)
{
    /// <summary>Computes it; a temperature of 0 counts as 1, for the log-probs of greedy rows.</summary>
    public static ReferenceDistribution Of(IReadOnlyList<float> logits, SamplingCase options)
    {
        double[] scores = [.. logits.Select(logit => (double)logit)];
        Penalise(scores, options);
        var temperature = options.Temperature == 0 ? 1 : options.Temperature;
        var untruncated = LogSoftmax([.. scores.Select(score => score / temperature)]);
        var (kept, margin) = Cut(scores, untruncated, options);
        var final = LogSoftmax([.. untruncated.Select((logProb, id) => kept.Contains(id) ? logProb : double.NegativeInfinity)]);
        return new(untruncated, final, margin);
    }

    /// <summary>The ids that truncation left.</summary>
    public int[] Kept => [.. Enumerable.Range(0, Final.Length).Where(id => !double.IsNegativeInfinity(Final[id]))];

    private static void Penalise(double[] scores, SamplingCase options)
    {
        foreach (var id in options.Prompt.Concat(options.Output).Distinct()) scores[id] = scores[id] < 0 ? scores[id] * options.Repetition : scores[id] / options.Repetition;
        foreach (var same in options.Output.GroupBy(id => id)) scores[same.Key] -= options.Frequency * (double)same.Count() + options.Presence;
    }

    private static (HashSet<int> Kept, double Margin) Cut(double[] scores, double[] logProbs, SamplingCase options)
    {
        int[] order = [.. Enumerable.Range(0, scores.Length).Where(id => scores[id] > double.NegativeInfinity).OrderByDescending(id => scores[id])];
        double Ratio(int id) => Math.Exp(logProbs[id] - logProbs[order[0]]);
        var margin = 1.0;
        int ByMinP(int[] ids)
        {
            if (options.MinP == 0) return ids.Length;
            margin = Math.Min(margin, ids.Skip(1).Select(id => Math.Abs(Ratio(id) - options.MinP)).DefaultIfEmpty(1).Min());
            return ids.Count(id => Ratio(id) >= options.MinP);
        }
        if (options.MinPFirst) order = order[..ByMinP(order)];
        if (options.TopK > 0 && options.TopK < order.Length) order = [.. order.TakeWhile(id => scores[id] >= scores[order[(int)options.TopK - 1]])];
        if (options.TopP < 1)
        {
            var (mass, before, count) = (order.Sum(Ratio), 0.0, 0);
            for (var rank = 0; rank < order.Length; rank++)
            {
                margin = Math.Min(margin, rank == 0 ? 1 : Math.Abs(before / mass - options.TopP));
                if (rank == 0 || before / mass < options.TopP) count++;
                else if (rank == count && scores[order[rank]] == scores[order[rank - 1]]) margin = 0;
                before += Ratio(order[rank]);
            }
            order = order[..count];
        }
        if (!options.MinPFirst) order = order[..ByMinP(order)];
        return ([.. order], margin);
    }

    private static double[] LogSoftmax(double[] scores)
    {
        var most = scores.Max();
        var sum = most + Math.Log(scores.Sum(score => Math.Exp(score - most)));
        return [.. scores.Select(score => score - sum)];
    }
}
