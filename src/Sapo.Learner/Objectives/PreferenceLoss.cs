namespace Sapo.Learner.Objectives;

/// <summary>One preference pair in log-probs.</summary>
/// <param name="ChosenLogProbs">Log-prob of each counted token of the preferred completion under the current policy.</param>
/// <param name="RejectedLogProbs">The same for the other completion.</param>
/// <param name="ChosenReference">SUM of the preferred completion's log-probs under the reference policy.</param>
/// <param name="RejectedReference">The same for the other completion.</param>
public sealed record PairLogProbs(double[] ChosenLogProbs, double[] RejectedLogProbs, double ChosenReference, double RejectedReference);

/// <summary>The loss of some pairs and its gradient.</summary>
/// <param name="Loss">Mean over pairs of -log sigmoid(margin), minimised.</param>
/// <param name="Margins">Per pair beta ((log pi - log ref)(chosen) - (log pi - log ref)(rejected)).</param>
/// <param name="ChosenGradients">Per pair dLoss/dl, the same for every token of the preferred completion.</param>
/// <param name="RejectedGradients">Per pair dLoss/dl of the other completion's tokens.</param>
public sealed record PreferenceResult(double Loss, double[] Margins, double[] ChosenGradients, double[] RejectedGradients)
{
    /// <summary>Share of pairs with a positive margin.</summary>
    public double Accuracy => Margins.Length == 0 ? 0 : (double)Margins.Count(margin => margin > 0) / Margins.Length;
}

/// <summary>
/// DPO (arXiv 2305.18290), the preference stage of VerIPO (arXiv 2505.19000): log-probs are summed over the completion, the
/// reference is the policy at the start of the stage. Large margins neither overflow nor lose the gradient.
/// </summary>
public static class PreferenceLoss
{
    /// <summary>VerIPO's beta.</summary>
    public const double DefaultBeta = 0.1;

    /// <summary>Loss and gradient of a batch of pairs.</summary>
    /// <param name="pairs">The pairs of this (micro-)batch.</param>
    /// <param name="beta">How strongly the policy is held to the reference.</param>
    /// <param name="totalPairs">Pairs of the whole optimizer mini-batch, so that a micro-batch gives its exact share.</param>
    /// <exception cref="InvalidDataException">A log-prob is not finite, or a completion has no tokens.</exception>
    public static PreferenceResult Evaluate(IReadOnlyList<PairLogProbs> pairs, double beta, int totalPairs)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(totalPairs, Math.Max(1, pairs.Count));
        double loss = 0;
        var margins = new double[pairs.Count];
        var chosen = new double[pairs.Count];
        var rejected = new double[pairs.Count];
        for (int index = 0; index < pairs.Count; index++)
        {
            PairLogProbs pair = pairs[index];
            if (pair.ChosenLogProbs.Length == 0 || pair.RejectedLogProbs.Length == 0) throw new InvalidDataException($"Pair {index} has a completion without tokens.");
            double margin = beta * (pair.ChosenLogProbs.Sum() - pair.ChosenReference - (pair.RejectedLogProbs.Sum() - pair.RejectedReference));
            if (!double.IsFinite(margin)) throw new InvalidDataException($"The margin of pair {index} is {margin}: a log-prob is not finite.");
            double e = Math.Exp(-Math.Abs(margin));
            loss += Math.Max(-margin, 0) + double.LogP1(e); // -log sigmoid(margin) = softplus(-margin)
            double slope = beta * (margin >= 0 ? e / (1 + e) : 1 / (1 + e)) / totalPairs;
            margins[index] = margin;
            chosen[index] = -slope;
            rejected[index] = slope;
        }
        return new PreferenceResult(loss / totalPairs, margins, chosen, rejected);
    }
}
