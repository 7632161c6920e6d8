namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// ESPO (arXiv 2512.00499): the tokens of a completion form two groups, the ceil(highFraction n) of highest old-policy entropy
/// and the rest; each group has one ratio s_k = exp(mean of z over the group), clipped to 1 +- eps_k with
/// eps_k = alpha / log|V| * mean entropy of the group. x = min(v A, clip(v) A), averaged within groups, over groups, over rows.
/// The paper's Eq. 9 has two readings: gspo-like, v = s_k (W = s_k), and eq9-literal, v = s_k r_t (W = s_k r_t); W = 0 where clipped.
/// </summary>
internal sealed class EspoTerm(double alpha, int vocabularySize, double highFraction, bool literal) : PolicyTerm
{
    /// <summary>Keeps ceil(0.2 * 15) at 3 although 0.2 * 15 is slightly more than 3 in floating point.</summary>
    private const double CeilingSlack = 1e-9;

    /// <inheritdoc />
    public override string Name => "espo";

    /// <inheritdoc />
    public override ObjectiveNeeds Needs => ObjectiveNeeds.OldPolicy;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] entropies = tokens.Needed("old policy's entropy", batch => batch.OldEntropies, Name);
        terms.Shares = new double[tokens.Count];
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            if (length == 0) continue;
            int high = Math.Clamp((int)Math.Ceiling(highFraction * length - CeilingSlack), 1, length);
            // A stable sort: of equal entropies the earlier token counts as the higher.
            int[] byEntropy = [.. Enumerable.Range(start, end - start).OrderByDescending(token => entropies[token])];
            int groups = high == length ? 1 : 2;
            EvaluateGroup(tokens, terms, entropies, byEntropy.AsSpan(0, high), length / (double)(groups * high));
            if (groups == 2) EvaluateGroup(tokens, terms, entropies, byEntropy.AsSpan(high), length / (double)(groups * (length - high)));
        }
    }

    private void EvaluateGroup(CountedTokens tokens, TermBuffers terms, double[] entropies, ReadOnlySpan<int> group, double share)
    {
        double logSum = 0, entropySum = 0;
        foreach (int token in group)
        {
            logSum += tokens.LogRatios[token];
            entropySum += entropies[token];
        }
        double ratio = Math.Exp(logSum / group.Length);
        double epsilon = alpha / Math.Log(vocabularySize) * (entropySum / group.Length);
        var clip = new RatioClip(1 - epsilon, 1 + epsilon);
        foreach (int token in group)
        {
            double value = literal ? ratio * Math.Exp(tokens.LogRatios[token]) : ratio;
            terms.Set(token, clip.At(value, tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
            terms.Shares![token] = share;
        }
    }
}
