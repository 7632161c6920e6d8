namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// Objectives with one weight per completion made of per-token pieces in log space:
/// S = exp((1/n) sum_t h(z_t)), x = S A for every token of the row. W_t = h'(z_t) S.
/// </summary>
internal abstract class GeometricMeanTerm : PolicyTerm
{
    /// <summary>h and h' of one log-ratio, and whether a bound stopped it.</summary>
    protected abstract (double Value, double Slope, ClipSide Clip) Piece(double logRatio, double advantage);

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        terms.Sensitivities = new double[tokens.Count];
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            double advantage = tokens.RowAdvantage(row, Name);
            double sum = 0;
            for (int token = start; token < end; token++)
            {
                (double value, double slope, terms.Clips[token]) = Piece(tokens.LogRatios[token], advantage);
                terms.Sensitivities[token] = tokens.InsideClamp[token] ? slope : 0;
                sum += value;
            }
            double weight = length == 0 ? 0 : Math.Exp(sum / length);
            for (int token = start; token < end; token++)
            {
                terms.Values[token] = terms.Slopes[token] = weight * advantage;
                terms.Weights[token] = weight * terms.Sensitivities[token];
            }
        }
    }
}
