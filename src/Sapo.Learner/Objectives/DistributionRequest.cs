namespace Sapo.Learner.Objectives;

/// <summary>Which facts about whole next-token distributions an objective looks at.</summary>
public enum DistributionFacts
{
    /// <summary>Probabilities of the old policy's most likely tokens under both policies (DPPO Top-K).</summary>
    TopK,

    /// <summary>KL(old || current) and the variance of the log-ratio, both under the old policy (guard-text).</summary>
    Divergence,

    /// <summary>The predicted effect of an optimizer step on one token alone, in the last layer (CAPO).</summary>
    Curvature,
}

/// <summary>What an objective asks of whole next-token distributions; the learner answers with <see cref="TokenDistributions"/>.</summary>
/// <param name="Facts">Which facts.</param>
/// <param name="TopK">How many of the most likely tokens are looked at; 0 for <see cref="DistributionFacts.Divergence"/>, which looks at all.</param>
/// <param name="AdamDirection">Curvature: the step is AdamW's with its present moments, else the plain gradient's.</param>
public sealed record DistributionRequest(DistributionFacts Facts, int TopK = 0, bool AdamDirection = false)
{
    /// <summary>Whether the old policy's distributions are compared with the current ones.</summary>
    public bool ComparesWithOldPolicy => Facts != DistributionFacts.Curvature;
}
