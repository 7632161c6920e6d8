namespace Sapo.Learner.Objectives;

/// <summary>
/// One objective put together: a <see cref="PolicyTerm"/> with the choices that are independent of it.
/// <code>
/// batch -> counted tokens, z clamped -> term (x, slope) -> x mismatch weight x masks -> aggregation -> (+ KL, entropy) -> J, dJ/dl
/// </code>
/// </summary>
internal sealed class PolicyObjective(PolicyTerm term, Aggregation aggregation, AnchorPolicy anchor, double logRatioClamp) : IObjective
{
    /// <inheritdoc />
    public string Name => term.Name;

    /// <inheritdoc />
    public ObjectiveScope Scope => term.Scope;

    /// <inheritdoc />
    public AnchorPolicy Anchor => anchor;

    /// <inheritdoc />
    public IReadOnlyDictionary<string, double> State => term.State;

    /// <inheritdoc />
    public void Restore(IReadOnlyDictionary<string, double> state) => term.Restore(state);

    /// <inheritdoc />
    public ObjectiveBatch Prepare(ObjectiveBatch miniBatch) => miniBatch;

    /// <inheritdoc />
    public void Advance(ObjectiveResult miniBatch) => term.Advance(miniBatch.Metrics);

    /// <inheritdoc />
    public ObjectiveResult Evaluate(ObjectiveBatch batch)
    {
        var tokens = new CountedTokens(batch, logRatioClamp);
        var terms = new TermBuffers(tokens.Count);
        term.Evaluate(tokens, terms);
        double[] weights = TokenWeights(tokens);
        var gradient = new double[tokens.Count];
        double value = 0;
        for (int row = 0; row < tokens.Rows; row++) value += Aggregate(tokens, terms, row, weights, gradient);
        return new ObjectiveResult
        {
            Value = value,
            Gradient = tokens.Scatter(gradient),
            Weights = tokens.Scatter(terms.Weights),
            Metrics = Metrics(tokens, terms),
        };
    }

    /// <summary>The row's share of J; writes its gradient.</summary>
    private double Aggregate(CountedTokens tokens, TermBuffers terms, int row, double[] weights, double[] gradient)
    {
        (int start, int end, int length) = tokens.Row(row);
        double coefficient = aggregation.Coefficient(length, tokens.Totals);
        double value = 0, pull = 0;
        for (int token = start; token < end; token++)
        {
            double factor = weights[token] * (terms.Shares?[token] ?? 1);
            if (factor == 0) continue; // masked before multiplied: a weight of 0 silences any value
            value += factor * terms.Values[token];
            pull += factor * terms.Slopes[token];
            gradient[token] = coefficient * factor * terms.Slopes[token];
        }
        if (terms.Sensitivities is { } sensitivities)
            for (int token = start; token < end; token++) gradient[token] = coefficient * sensitivities[token] * pull / length;
        return coefficient * value;
    }

    /// <summary>[n] what multiplies each token's term: its mismatch weight, 0 where a mask silences it.</summary>
    private double[] TokenWeights(CountedTokens tokens)
    {
        double[]? correction = term.AbsorbsCorrection ? null : tokens.Optional(batch => batch.CorrectionWeights);
        bool[]? mask = tokens.Optional(batch => batch.TermMask);
        var weights = new double[tokens.Count];
        for (int token = 0; token < tokens.Count; token++)
            weights[token] = mask is null || mask[token] ? correction?[token] ?? 1 : 0;
        return weights;
    }

    private static Dictionary<string, double> Metrics(CountedTokens tokens, TermBuffers terms)
    {
        double share = tokens.Totals.Tokens == 0 ? 0 : 1.0 / tokens.Totals.Tokens;
        return new Dictionary<string, double>(terms.Metrics, StringComparer.Ordinal)
        {
            ["clipFractionLow"] = share * terms.Clips.Count(side => side == ClipSide.Low),
            ["clipFractionHigh"] = share * terms.Clips.Count(side => side == ClipSide.High),
        };
    }
}
