namespace Sapo.Learner.Objectives.Terms;

/// <summary>Other clip distances for the tokens whose entropy is above a quantile of their completion.</summary>
internal sealed record EntropyClip(double Quantile, double ClipLow, double ClipHigh);

/// <summary>
/// ASPO (arXiv 2510.06062): x = sg[w] A l. For A &gt; 0 the weight is flipped, w = min(1/r, dualClip), and 0 where
/// r &gt; 1 + clipHigh; for A &lt; 0 w = min(r, dualClip), and 0 where r &lt; 1 - clipLow. 1/r is computed as exp(-z). W = w.
/// </summary>
internal sealed class AspoTerm(double clipLow, double clipHigh, double dualClip, EntropyClip? entropyClip) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "aspo";

    /// <inheritdoc />
    public override ObjectiveNeeds Needs => entropyClip is null ? ObjectiveNeeds.None : ObjectiveNeeds.OldPolicy;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[]? entropies = entropyClip is null ? null : tokens.Needed("old policy's entropy", batch => batch.OldEntropies, Name);
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            double threshold = entropies is null || length == 0 ? double.PositiveInfinity : Quantiles.Of(entropies.AsSpan(start, length), entropyClip!.Quantile);
            for (int token = start; token < end; token++)
            {
                bool wide = entropies is not null && entropies[token] > threshold;
                terms.Set(token, At(tokens, token, wide ? entropyClip!.ClipLow : clipLow, wide ? entropyClip!.ClipHigh : clipHigh));
            }
        }
    }

    private TokenTerm At(CountedTokens tokens, int token, double low, double high)
    {
        double advantage = tokens.Advantages[token], logRatio = tokens.LogRatios[token], ratio = Math.Exp(logRatio);
        (double weight, ClipSide side) = advantage switch
        {
            > 0 => ratio > 1 + high ? (0, ClipSide.High) : (Math.Min(Math.Exp(-logRatio), dualClip), ClipSide.None),
            < 0 => ratio < 1 - low ? (0, ClipSide.Low) : (Math.Min(ratio, dualClip), ClipSide.None),
            _ => (0, ClipSide.None),
        };
        return TokenTerm.Detached(weight, advantage, tokens.LogProbs[token], side);
    }
}
