namespace Sapo.Learner.Objectives.Terms;

/// <summary>
/// GRPO-Guard's ratio normalisation (arXiv 2510.22319, flow matching) TRANSLATED BY US to text: the clipped statistic is
/// centred and scaled per position, z~ = a_t (z + KL_t), a_t = kappa / sqrt(V_t + epsilon^2), with KL_t = KL(old || current) and
/// V_t the variance of z under the old policy, both detached; x = min(r~ A, clip(r~) A) / a_t with r~ = exp(z~).
/// W = r~ where not clipped, else 0.
/// </summary>
/// <param name="kappaRule">rms-eps: sqrt(mean z^2 + epsilon^2) over the mini-batch's counted tokens; rms: without epsilon; constant.</param>
/// <param name="kappa">The scale of rule constant.</param>
/// <param name="epsilon">Added, squared, to the variance.</param>
/// <param name="clip">Bounds on r~.</param>
/// <param name="clamp">z~ is clamped to +- this before it is exponentiated.</param>
internal sealed class GuardTextTerm(string kappaRule, double? kappa, double epsilon, RatioClip clip, double clamp) : PolicyTerm
{
    /// <inheritdoc />
    public override string Name => "guard-text";

    /// <inheritdoc />
    public override DistributionRequest? Distributions { get; } = new(DistributionFacts.Divergence);

    /// <inheritdoc />
    public override ObjectiveScope Scope => kappaRule == "constant" ? ObjectiveScope.Sequence : ObjectiveScope.MiniBatch;

    /// <inheritdoc />
    public override void Evaluate(CountedTokens tokens, TermBuffers terms)
    {
        double[] divergences = tokens.Needed("KL(old || current)", batch => batch.Distributions?.OldToCurrentKl, Name);
        double[] variances = tokens.Needed("variance of the log-ratio", batch => batch.Distributions?.LogRatioVariance, Name);
        double scale = Scale(tokens);
        for (int token = 0; token < tokens.Count; token++)
        {
            double factor = scale / Math.Sqrt(variances[token] + epsilon * epsilon);
            double normalised = factor * (tokens.LogRatios[token] + divergences[token]);
            TokenTerm term = clip.At(Math.Exp(Math.Clamp(normalised, -clamp, clamp)), tokens.Advantages[token]);
            terms.Set(token, (term with { Value = term.Value / factor }).Inside(tokens.InsideClamp[token] && Math.Abs(normalised) <= clamp));
        }
        if (Scope == ObjectiveScope.MiniBatch) terms.Metrics["kappa"] = scale;
    }

    /// <summary>kappa; at least epsilon under rule rms, so that a mini-batch with z = 0 everywhere divides by nothing small.</summary>
    private double Scale(CountedTokens tokens)
    {
        if (kappaRule == "constant") return kappa!.Value;
        double meanSquare = tokens.Count == 0 ? 0 : tokens.LogRatios.Sum(z => z * z) / tokens.Count;
        return kappaRule == "rms" ? Math.Max(Math.Sqrt(meanSquare), epsilon) : Math.Sqrt(meanSquare + epsilon * epsilon);
    }
}
