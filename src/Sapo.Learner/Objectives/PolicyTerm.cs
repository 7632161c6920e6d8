namespace Sapo.Learner.Objectives;

/// <summary>Which side of the trust region stopped a token's gradient.</summary>
internal enum ClipSide
{
    /// <summary>Not stopped.</summary>
    None,

    /// <summary>The ratio was below the lower bound, with a negative advantage.</summary>
    Low,

    /// <summary>The ratio was above the upper bound.</summary>
    High,
}

/// <summary>One token's term: its value x and dx/dz, and the weight W with dx/dz = W * A where that holds.</summary>
internal readonly record struct TokenTerm(double Value, double Slope, double Weight, ClipSide Clip = ClipSide.None)
{
    /// <summary>A differentiable term x(z) with slope W * A.</summary>
    public static TokenTerm Differentiable(double value, double weight, double advantage, ClipSide clip = ClipSide.None) =>
        new(value, weight * advantage, weight, clip);

    /// <summary>This term, without gradient when its log-ratio lies outside the clamp.</summary>
    public TokenTerm Inside(bool insideClamp) => insideClamp ? this : this with { Slope = 0, Weight = 0 };

    /// <summary>The detached form sg[W] * A * l.</summary>
    public static TokenTerm Detached(double weight, double advantage, double logProb, ClipSide clip = ClipSide.None) =>
        new(weight * advantage * logProb, weight * advantage, weight, clip);
}

/// <summary>What a term writes, one entry per counted token.</summary>
internal sealed class TermBuffers(int count)
{
    /// <summary>x: the token's value before aggregation.</summary>
    public double[] Values { get; } = new double[count];

    /// <summary>
    /// Token terms: dx_t/dl_t. Terms that couple a row: dx_t/d(log of the row's weight), see <see cref="Sensitivities"/>.
    /// </summary>
    public double[] Slopes { get; } = new double[count];

    /// <summary>W as reported.</summary>
    public double[] Weights { get; } = new double[count];

    /// <summary>
    /// Only for terms that couple a row, whose weight is S = exp((1/n) sum_t h(z_t)): h'(z_t). The gradient at token t is then
    /// c * h'(z_t) * (1/n) sum_u w_u * Slopes[u].
    /// </summary>
    public double[]? Sensitivities { get; set; }

    /// <summary>Factor on the aggregation's coefficient for terms that share a row's weight out differently; null: 1.</summary>
    public double[]? Shares { get; set; }

    /// <summary>A part of J that no token carries and that has no gradient: this batch's share of it.</summary>
    public double Offset { get; set; }

    /// <summary>Where the gradient was stopped.</summary>
    public ClipSide[] Clips { get; } = new ClipSide[count];

    /// <summary>Numbers of the term itself worth logging.</summary>
    public Dictionary<string, double> Metrics { get; } = new(StringComparer.Ordinal);

    /// <summary>Writes one token of a term that does not couple its row.</summary>
    public void Set(int token, TokenTerm term)
    {
        Values[token] = term.Value;
        Slopes[token] = term.Slope;
        Weights[token] = term.Weight;
        Clips[token] = term.Clip;
    }
}

/// <summary>
/// The part of an objective that differs from paper to paper: per-token values and slopes from log-ratios and advantages.
/// Aggregation, mismatch weights, masks, KL and entropy are applied around it by <see cref="PolicyObjective"/>.
/// </summary>
internal abstract class PolicyTerm
{
    /// <summary>The name used in run files and messages.</summary>
    public abstract string Name { get; }

    /// <summary>See <see cref="ObjectiveScope"/>.</summary>
    public virtual ObjectiveScope Scope => ObjectiveScope.Sequence;

    /// <summary>See <see cref="IObjective.RequiredAnchor"/>.</summary>
    public virtual AnchorPolicy? RequiredAnchor => null;

    /// <summary>See <see cref="IObjective.Needs"/>: what the term itself needs.</summary>
    public virtual ObjectiveNeeds Needs => ObjectiveNeeds.None;

    /// <summary>See <see cref="IObjective.Distributions"/>.</summary>
    public virtual DistributionRequest? Distributions => null;

    /// <summary>True when the term takes the mismatch weights in by itself, so that they are not multiplied in again.</summary>
    public virtual bool AbsorbsCorrection => false;

    /// <summary>Writes every counted token's term.</summary>
    public abstract void Evaluate(CountedTokens tokens, TermBuffers terms);

    /// <summary>Moves the term's own state after an optimizer step.</summary>
    public virtual void Advance(IReadOnlyDictionary<string, double> metrics)
    {
    }

    /// <summary>The term's own state, by name.</summary>
    public virtual IReadOnlyDictionary<string, double> State => new Dictionary<string, double>(StringComparer.Ordinal);

    /// <summary>Takes the state back.</summary>
    public virtual void Restore(IReadOnlyDictionary<string, double> state)
    {
    }
}
