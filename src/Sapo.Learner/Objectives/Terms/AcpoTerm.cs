namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// ACPO's advantage-aware clip (arXiv 2510.00690), a RECONSTRUCTION from third-party code: GRPO's surrogate with the upper
/// distance clamp(base + gain Phi(A), minimum, maximum), Phi the normal distribution function. W = r where not clipped, else 0.
/// </summary>
internal sealed class AcpoTerm(double clipLow, double clipHighBase, double clipHighGain, double clipHighMinimum, double clipHighMaximum) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "acpo";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        for (int token = 0; token < tokens.Count; token++)
        {
            double advantage = tokens.Advantages[token];
            double clipHigh = Math.Clamp(clipHighBase + clipHighGain * ErrorFunction.NormalCumulative(advantage), clipHighMinimum, clipHighMaximum);
            TokenTerm term = new RatioClip(1 - clipLow, 1 + clipHigh).At(Math.Exp(tokens.LogRatios[token]), advantage);
            terms.Set(token, term.Inside(tokens.InsideClamp[token]));
        }
    }
}
