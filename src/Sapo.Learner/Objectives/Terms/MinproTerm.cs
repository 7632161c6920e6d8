namespace Sapo.Learner.Objectives.Terms;

/// <summary>The smallest earlier ratio of a completion, MinPRO's stand-in for the product of all earlier ratios.</summary>
internal static class PrefixMinimum
{
    /// <summary>[n] min over k &lt; t of r_k within the row; 1 for its first counted token.</summary>
    public static double[] Of(CountedTokens tokens)
    {
        var minima = new double[tokens.Count];
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int _) = tokens.Row(row);
            double smallest = double.PositiveInfinity;
            for (int token = start; token < end; token++)
            {
                minima[token] = token == start ? 1 : smallest;
                smallest = Math.Min(smallest, Math.Exp(tokens.LogRatios[token]));
            }
        }
        return minima;
    }
}

/// <summary>
/// MinPRO (arXiv 2601.22718): x = sg[clip(rbar r, 1 - clipLow, 1 + clipHigh)] A l with rbar the smallest earlier ratio.
/// W = clip(rbar r). The paper's clip constants were not found: no floor and 0.28 are our defaults.
/// </summary>
internal sealed class MinproSoftTerm(double clipLow, double clipHigh) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "minpro-soft";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] minima = PrefixMinimum.Of(tokens);
        for (int token = 0; token < tokens.Count; token++)
        {
            double ratio = minima[token] * Math.Exp(tokens.LogRatios[token]);
            ClipSide side = ratio > 1 + clipHigh ? ClipSide.High : ratio < 1 - clipLow ? ClipSide.Low : ClipSide.None;
            double weight = Math.Clamp(ratio, 1 - clipLow, 1 + clipHigh);
            terms.Set(token, TokenTerm.Detached(weight, tokens.Advantages[token], tokens.LogProbs[token], side));
        }
    }
}

/// <summary>
/// MinPRO's clipped variant: GRPO's surrogate on sg[rbar] r, the gradient through r alone. W = rbar r where not clipped, else 0.
/// </summary>
internal sealed class MinproHardTerm(RatioClip clip) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "minpro-hard";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] minima = PrefixMinimum.Of(tokens);
        for (int token = 0; token < tokens.Count; token++)
            terms.Set(token, clip.At(minima[token] * Math.Exp(tokens.LogRatios[token]), tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
    }
}
