namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// GRPO (arXiv 2402.03300), and with other aggregations and bounds DAPO (2503.14476) and Dr.GRPO (2503.20783):
/// x = min(r A, clip(r, 1 - clipLow, 1 + clipHigh) A), r = exp(z). W = r where not clipped, else 0.
/// </summary>
/// <param name="name">grpo, dapo or dr-grpo: they differ in defaults only.</param>
/// <param name="clip">The bounds on r.</param>
internal sealed class GrpoTerm(string name, RatioClip clip) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => name;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        for (int token = 0; token < tokens.Count; token++)
            terms.Set(token, clip.At(Math.Exp(tokens.LogRatios[token]), tokens.Advantages[token]).Inside(tokens.InsideClamp[token]));
    }
}
