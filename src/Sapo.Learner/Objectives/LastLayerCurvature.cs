namespace Sapo.Learner.Objectives;

/// <summary>
/// CAPO's second-order model of a step on one token's gradient alone, in the last layer (arXiv 2510.00819, Eqs. 7-10):
/// g = A v h^T with v = onehot(sampled) - pi over the k stored tokens, G the optimizer's direction for g, u = G h;
/// m_H = lr &lt;g, G&gt; + lr^2/2 A ((v.u)^2 - u^T F u), F = diag(pi) - pi pi^T; m_F = lr^2/2 (v.u)^2.
/// Since &lt;g, G&gt; = A v.u, neither g nor G is ever held as a whole.
/// </summary>
public static class LastLayerCurvature
{
    /// <summary>AdamW's state of the k rows of the LM head that belong to the stored tokens.</summary>
    /// <param name="FirstMoments">[k][H] first moments.</param>
    /// <param name="SecondMoments">[k][H] second moments.</param>
    /// <param name="Steps">Optimizer steps already made.</param>
    /// <param name="Beta1">Decay of the first moment.</param>
    /// <param name="Beta2">Decay of the second moment.</param>
    /// <param name="Epsilon">Added to the root of the second moment.</param>
    public sealed record AdamRows(double[][] FirstMoments, double[][] SecondMoments, int Steps, double Beta1, double Beta2, double Epsilon);

    /// <summary>m_H and m_F of one token.</summary>
    /// <param name="hidden">[H] input of the LM head at the position that PREDICTS the token.</param>
    /// <param name="probabilities">[k] softmax over the logits of the k stored tokens.</param>
    /// <param name="sampledIndex">Where the sampled token is among them; -1: nowhere, then v = -pi.</param>
    /// <param name="advantage">A.</param>
    /// <param name="learningRate">The current learning rate.</param>
    /// <param name="adam">The optimizer's state for Adam's direction; null: plain gradient (SGD, or no state yet).</param>
    public static (double ObjectiveShift, double PolicyShift) Estimate(
        ReadOnlySpan<double> hidden, ReadOnlySpan<double> probabilities, int sampledIndex, double advantage, double learningRate, AdamRows? adam)
    {
        double hiddenSquare = 0;
        foreach (double value in hidden) hiddenSquare += value * value;
        double scoreByStep = 0, meanStep = 0, meanSquareStep = 0; // v.u, sum pi u, sum pi u^2
        for (int index = 0; index < probabilities.Length; index++)
        {
            double score = (index == sampledIndex ? 1 : 0) - probabilities[index];
            double step = adam is null ? advantage * score * hiddenSquare : AdamStep(hidden, advantage * score, adam, index);
            scoreByStep += score * step;
            meanStep += probabilities[index] * step;
            meanSquareStep += probabilities[index] * step * step;
        }
        return FromSums(scoreByStep, meanStep, meanSquareStep, advantage, learningRate);
    }

    /// <summary>m_H and m_F from the three sums over the stored tokens that they depend on.</summary>
    /// <param name="scoreByStep">v.u.</param>
    /// <param name="meanStep">sum pi u.</param>
    /// <param name="meanSquareStep">sum pi u^2.</param>
    /// <param name="advantage">A.</param>
    /// <param name="learningRate">The current learning rate.</param>
    public static (double ObjectiveShift, double PolicyShift) FromSums(
        double scoreByStep, double meanStep, double meanSquareStep, double advantage, double learningRate)
    {
        double half = learningRate * learningRate / 2;
        double curvature = meanSquareStep - meanStep * meanStep; // u^T F u
        return (learningRate * advantage * scoreByStep + half * advantage * (scoreByStep * scoreByStep - curvature), half * scoreByStep * scoreByStep);
    }

    /// <summary>(G h) of one row: Adam's bias-corrected direction after this token's gradient, times the hidden state.</summary>
    private static double AdamStep(ReadOnlySpan<double> hidden, double rowGradient, AdamRows adam, int row)
    {
        double firstCorrection = 1 - Math.Pow(adam.Beta1, adam.Steps + 1), secondCorrection = 1 - Math.Pow(adam.Beta2, adam.Steps + 1);
        double step = 0;
        for (int column = 0; column < hidden.Length; column++)
        {
            double gradient = rowGradient * hidden[column];
            double first = adam.Beta1 * adam.FirstMoments[row][column] + (1 - adam.Beta1) * gradient;
            double second = adam.Beta2 * adam.SecondMoments[row][column] + (1 - adam.Beta2) * gradient * gradient;
            step += first / firstCorrection / (Math.Sqrt(second / secondCorrection) + adam.Epsilon) * hidden[column];
        }
        return step;
    }
}
