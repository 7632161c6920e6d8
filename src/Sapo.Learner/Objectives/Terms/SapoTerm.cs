namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// SAPO, Soft Adaptive Policy Optimization (arXiv 2511.20347, Eq. 5): x = f(r) A with the soft gate
/// f(r) = (4/tau) sigmoid(tau (r - 1)), tau = tauPositive for A &gt; 0 and tauNegative otherwise.
/// W = f'(r) r = sech^2(tau (r - 1) / 2) r: 1 at r = 1 whatever tau is, and it falls off smoothly instead of being cut.
/// With another <see cref="Gate"/> it is the gate study's variant (arXiv 2602.19345), which only the sigmoid is not.
/// </summary>
/// <param name="gate">The shape of f.</param>
/// <param name="tauPositive">Temperature for A &gt; 0.</param>
/// <param name="tauNegative">Temperature for A &lt;= 0; the paper takes it larger, because a negative advantage raises every unsampled logit.</param>
internal sealed class SapoTerm(Gate gate, double tauPositive, double tauNegative) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "sapo";

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        for (int token = 0; token < tokens.Count; token++)
        {
            double advantage = tokens.Advantages[token];
            double ratio = Math.Exp(tokens.LogRatios[token]);
            (double value, double slope) = gate.At(ratio, advantage > 0 ? tauPositive : tauNegative);
            terms.Set(token, TokenTerm.Differentiable(value * advantage, slope * ratio, advantage).Inside(tokens.InsideClamp[token]));
        }
    }
}
