namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// CISPO (MiniMax-M1, arXiv 2506.13585): x = sg[clip(r, minimum, maximum)] A l, so that every token keeps a gradient.
/// W = clip(r, minimum, maximum). J's value contains l and means nothing by itself; watch W.
/// </summary>
/// <param name="name">cispo (bounds given as distances from 1) or cispo-absolute (bounds given as ratios).</param>
/// <param name="minimum">Smallest weight; 0 for none, as in the paper.</param>
/// <param name="maximum">Largest weight.</param>
internal sealed class CispoTerm(string name, double minimum, double maximum) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => name;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        for (int token = 0; token < tokens.Count; token++)
        {
            double ratio = Math.Exp(tokens.LogRatios[token]);
            ClipSide side = ratio > maximum ? ClipSide.High : ratio < minimum ? ClipSide.Low : ClipSide.None;
            terms.Set(token, TokenTerm.Detached(Math.Clamp(ratio, minimum, maximum), tokens.Advantages[token], tokens.LogProbs[token], side));
        }
    }
}
