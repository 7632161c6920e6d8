namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// CAPO (arXiv 2510.00819): GRPO's surrogate on the tokens that a last-layer second-order model finds harmless. A token is
/// kept iff its policy shift m_F &lt; policyShiftLimit and its objective shift m_H lies below objectiveShiftLimit, in absolute
/// value (symmetric) or from 0 up. The denominator is the number of kept tokens of the completion (at least 1), or the constant
/// of the aggregation. W = r where kept and not clipped, else 0. <see cref="LastLayerCurvature"/> computes m_H and m_F.
/// </summary>
/// <param name="clip">Bounds of the ratio.</param>
/// <param name="curvature">What the learner must compute of the last layer.</param>
/// <param name="policyShiftLimit">m_F must lie below.</param>
/// <param name="objectiveShiftLimit">m_H must lie below.</param>
/// <param name="symmetric">Whether m_H is limited in absolute value.</param>
/// <param name="meanOfKept">Whether a completion's denominator is its kept tokens.</param>
internal sealed class CapoTerm(
    RatioClip clip, DistributionRequest curvature, double policyShiftLimit, double objectiveShiftLimit, bool symmetric, bool meanOfKept) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "capo";

    /// <inheritdoc />
    public override ObjectiveNeeds Needs => ObjectiveNeeds.SilentRows;

    /// <inheritdoc />
    public override DistributionRequest? Distributions => curvature;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] objectiveShift = tokens.Needed("objective shift m_H", batch => batch.Distributions?.ObjectiveShift, Name);
        double[] policyShift = tokens.Needed("policy shift m_F", batch => batch.Distributions?.PolicyShift, Name);
        terms.Shares = new double[tokens.Count];
        int rejected = 0;
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            int kept = Enumerable.Range(start, length).Count(token => Keeps(objectiveShift[token], policyShift[token]));
            rejected += length - kept;
            double share = meanOfKept ? (double)length / Math.Max(kept, 1) : 1;
            for (int token = start; token < end; token++)
            {
                if (!Keeps(objectiveShift[token], policyShift[token])) continue;
                terms.Set(token, clip.At(Math.Exp(tokens.LogRatios[token]), tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
                terms.Shares[token] = share;
            }
        }
        terms.Metrics["rejectedFraction"] = tokens.Totals.Tokens == 0 ? 0 : (double)rejected / tokens.Totals.Tokens;
    }

    private bool Keeps(double objectiveShift, double policyShift) =>
        policyShift < policyShiftLimit && (symmetric ? Math.Abs(objectiveShift) < objectiveShiftLimit : objectiveShift >= 0 && objectiveShift < objectiveShiftLimit);
}
