namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// DPPO (arXiv 2602.04879): x = sg[M min(r, cap)] A l with r against the sampler. M = 0 where the update moves away from the
/// sampler in the direction of the advantage (A &gt; 0 and p &gt; q, or A &lt; 0 and p &lt; q) although the divergence already exceeds
/// its limit; else 1. W = M min(r, cap). p and q are the sampled token's probabilities, p from the unclamped log-prob.
/// </summary>
/// <param name="divergence">D at one token.</param>
/// <param name="deltaLow">Limit for A &lt; 0.</param>
/// <param name="deltaHigh">Limit for A &gt; 0.</param>
/// <param name="ratioCap">Largest weight.</param>
internal sealed class DppoTerm(TokenDivergence divergence, double deltaLow, double deltaHigh, double ratioCap) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "dppo";

    /// <inheritdoc />
    public override AnchorPolicy? RequiredAnchor => AnchorPolicy.Sampler;

    /// <inheritdoc />
    public override DistributionRequest? Distributions => divergence.TopK > 0 ? new(DistributionFacts.TopK, divergence.TopK) : null;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] divergences = divergence.Of(tokens);
        for (int token = 0; token < tokens.Count; token++)
        {
            double advantage = tokens.Advantages[token];
            double current = Math.Exp(tokens.LogProbs[token]), anchor = Math.Exp(tokens.AnchorLogProbs[token]);
            ClipSide side = advantage > 0 && divergences[token] > deltaHigh && current > anchor ? ClipSide.High
                : advantage < 0 && divergences[token] > deltaLow && current < anchor ? ClipSide.Low
                : ClipSide.None;
            double weight = side == ClipSide.None ? Math.Min(Math.Exp(tokens.LogRatios[token]), ratioCap) : 0;
            terms.Set(token, TokenTerm.Detached(weight, advantage, tokens.LogProbs[token], side));
        }
    }
}
