namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// VESPO (arXiv 2602.10693): x = sg[phi(w)] A l with one weight per completion, log w = sum_t z_t clamped to [ln 1e-8, 20] and
/// phi(w) = exp(lambda + k log w - lambda w), phi(1) = 1; k and lambda by the sign of A. W = phi(w).
/// Mismatch weights enter as log w += sum_t log max(w_t, 1e-8) and are not multiplied in again.
/// </summary>
internal sealed class VespoTerm(double kPositive, double lambdaPositive, double kNegative, double lambdaNegative) : PolicyTerm
{
    private const double SmallestWeight = 1e-8;
    private const double LargestLogWeight = 20;

    /// <inheritdoc />
    public override string Name => "vespo";

    /// <inheritdoc />
    public override bool AbsorbsCorrection => true;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[]? corrections = tokens.Optional(batch => batch.CorrectionWeights);
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int _) = tokens.Row(row);
            double logWeight = 0;
            for (int token = start; token < end; token++)
                logWeight += tokens.LogRatios[token] + (corrections is null ? 0 : Math.Log(Math.Max(corrections[token], SmallestWeight)));
            logWeight = Math.Clamp(logWeight, Math.Log(SmallestWeight), LargestLogWeight);
            for (int token = start; token < end; token++)
            {
                double advantage = tokens.Advantages[token];
                (double k, double lambda) = advantage >= 0 ? (kPositive, lambdaPositive) : (kNegative, lambdaNegative);
                double weight = Math.Exp(lambda + k * logWeight - lambda * Math.Exp(logWeight));
                terms.Set(token, TokenTerm.Detached(weight, advantage, tokens.LogProbs[token]));
            }
        }
    }
}
