using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>
/// One objective put together: a <see cref="PolicyTerm"/> with the choices that are independent of it.
/// <code>
/// batch -> counted tokens, z clamped -> term (x, slope) -> x mismatch weight x masks -> aggregation -> - KL, + entropy -> J, dJ/dl
/// </code>
/// </summary>
/// <param name="term">What differs from paper to paper.</param>
/// <param name="options">The resolved options; the term's own knobs are not read here.</param>
internal sealed class PolicyObjective(PolicyTerm term, ObjectiveOptions options) : IObjective
{
    private readonly Aggregation aggregation = new(options.Aggregation!, options.NormConstant);
    private readonly KlPenalty? kl = options.Kl is null ? null : new KlPenalty(options.Kl);
    private readonly EntropyBonus? entropyBonus = options.EntropyBonus is null ? null : new EntropyBonus(options.EntropyBonus);

    /// <inheritdoc />
    public string Name => term.Name;

    /// <inheritdoc />
    public ObjectiveScope Scope => term.Scope;

    /// <inheritdoc />
    public AnchorPolicy? RequiredAnchor => options.Correction is null ? term.RequiredAnchor : AnchorPolicy.Old;

    /// <inheritdoc />
    public ObjectiveNeeds Needs => term.Needs
        | (RequiredAnchor == AnchorPolicy.Old || options.TopEntropyFraction is not null || Distributions is { ComparesWithOldPolicy: true } ? ObjectiveNeeds.OldPolicy : ObjectiveNeeds.None)
        | (kl is null ? ObjectiveNeeds.None : ObjectiveNeeds.ReferencePolicy)
        | (kl is null && entropyBonus is null && options.TopEntropyFraction is null && options.Correction is not { Normalise: true } && Scope == ObjectiveScope.Sequence
            ? ObjectiveNeeds.None : ObjectiveNeeds.SilentRows);

    /// <inheritdoc />
    public DistributionRequest? Distributions => term.Distributions;

    /// <inheritdoc />
    public IReadOnlyDictionary<string, double> State =>
        new Dictionary<string, double>(term.State.Concat(entropyBonus?.State ?? []), StringComparer.Ordinal);

    /// <inheritdoc />
    public void Restore(IReadOnlyDictionary<string, double> state)
    {
        term.Restore(state);
        entropyBonus?.Restore(state);
    }

    /// <inheritdoc />
    public ObjectiveBatch Prepare(ObjectiveBatch miniBatch)
    {
        miniBatch.Validate();
        ObjectiveBatch prepared = miniBatch;
        if (options.Correction is { } correction)
        {
            double[] sampler = miniBatch.SamplerLogProbs
                ?? throw new InvalidDataException("objective.correction needs the sampler's log-prob of every token, but the batch has none.");
            prepared = prepared with
            {
                CorrectionWeights = MismatchCorrection.Weights(correction, miniBatch.RowOffsets, miniBatch.AnchorLogProbs, sampler, miniBatch.Mask),
            };
        }
        if (options.TopEntropyFraction is { } fraction)
        {
            bool[] top = TermMasks.TopEntropy(miniBatch, fraction);
            prepared = prepared with { TermMask = miniBatch.TermMask is { } mask ? [.. mask.Zip(top, (left, right) => left && right)] : top };
        }
        return prepared;
    }

    /// <inheritdoc />
    public void Advance(ObjectiveResult miniBatch)
    {
        term.Advance(miniBatch.Metrics);
        entropyBonus?.Advance(miniBatch.Metrics);
    }

    /// <inheritdoc />
    public ObjectiveResult Evaluate(ObjectiveBatch batch)
    {
        var tokens = new CountedTokens(batch, options.LogRatioClamp!.Value);
        var terms = new TermBuffers(tokens.Count);
        term.Evaluate(tokens, terms);
        double[] weights = TokenWeights(tokens);
        double[]? reference = kl is null ? null : tokens.Needed("reference policy's log-prob", source => source.ReferenceLogProbs, "objective.kl");
        double[]? entropies = entropyBonus is null ? null : tokens.Needed("current policy's entropy", source => source.Entropies, "objective.entropyBonus");
        var gradient = new double[tokens.Count];
        double[]? entropyGradient = entropies is null ? null : new double[tokens.Count];
        double value = terms.Offset, divergence = 0;
        for (int row = 0; row < tokens.Rows; row++)
        {
            double coefficient = aggregation.Coefficient(tokens.Row(row).Length, tokens.Totals);
            value += Aggregate(tokens, terms, row, coefficient, weights, gradient);
            if (reference is not null) divergence += kl!.Apply(tokens, row, coefficient, reference, gradient);
        }
        if (kl is not null) terms.Metrics["kl"] = divergence;
        AddSharedMetrics(tokens, terms, weights, entropies);
        if (entropies is not null) value += entropyBonus!.Apply(terms.Metrics[EntropyBonus.MeanEntropyMetric], tokens.Totals.Tokens, entropyGradient!);
        return new ObjectiveResult
        {
            Value = value - (kl is null ? 0 : kl.Beta * divergence),
            Gradient = tokens.Scatter(gradient),
            EntropyGradient = entropyGradient is null ? null : tokens.Scatter(entropyGradient),
            Weights = tokens.Scatter(terms.Weights),
            Metrics = terms.Metrics,
        };
    }

    /// <summary>The row's share of the policy term; writes its gradient.</summary>
    private static double Aggregate(CountedTokens tokens, TermBuffers terms, int row, double coefficient, double[] weights, double[] gradient)
    {
        (int start, int end, int length) = tokens.Row(row);
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
        bool[]? dropped = options.OffPolicyThreshold is { } threshold ? TermMasks.OffPolicy(tokens, BehaviourLogProbs(tokens), threshold) : null;
        var weights = new double[tokens.Count];
        for (int token = 0; token < tokens.Count; token++)
            weights[token] = mask is not null && !mask[token] || dropped is not null && dropped[token] ? 0 : correction?[token] ?? 1;
        return weights;
    }

    private double[] BehaviourLogProbs(CountedTokens tokens) => options.OffPolicyAgainst == "anchor"
        ? tokens.AnchorLogProbs
        : tokens.Needed("sampler's log-prob", batch => batch.SamplerLogProbs, "objective.offPolicyThreshold");

    private void AddSharedMetrics(CountedTokens tokens, TermBuffers terms, double[] weights, double[]? entropies)
    {
        double share = tokens.Totals.Tokens == 0 ? 0 : 1.0 / tokens.Totals.Tokens;
        terms.Metrics["clipFractionLow"] = share * terms.Clips.Count(side => side == ClipSide.Low);
        terms.Metrics["clipFractionHigh"] = share * terms.Clips.Count(side => side == ClipSide.High);
        terms.Metrics["maskedFraction"] = share * weights.Count(weight => weight == 0);
        if (entropies is null) return;
        terms.Metrics[EntropyBonus.MeanEntropyMetric] = share * entropies.Sum();
        terms.Metrics["entropyCoefficient"] = share * tokens.Count * entropyBonus!.Coefficient;
    }
}
