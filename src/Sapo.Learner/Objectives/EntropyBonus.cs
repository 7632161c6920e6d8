using Sapo.Core;
using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>
/// J += coefficient * (mean of H over all counted tokens of the mini-batch), H the current policy's entropy, whatever the objective's aggregation. With a target the coefficient moves by one step
/// after each optimizer step, up while the mini-batch's mean entropy is below the target, else down, between 0 and the maximum.
/// </summary>
internal sealed class EntropyBonus(EntropyBonusOptions options)
{
    private const string CoefficientState = "entropyCoefficient";

    /// <summary>The metric that <see cref="Advance"/> reads: this batch's share of the mean entropy over all counted tokens.</summary>
    public const string MeanEntropyMetric = "meanEntropy";

    private double coefficient = options.Coefficient;

    /// <summary>This batch's share of J; writes dJ/dH.</summary>
    /// <param name="meanEntropy">This batch's share of the mean entropy over the mini-batch's T counted tokens.</param>
    /// <param name="totalTokens">T.</param>
    /// <param name="entropyGradient">[n] takes the gradient.</param>
    public double Apply(double meanEntropy, long totalTokens, double[] entropyGradient)
    {
        Array.Fill(entropyGradient, coefficient / totalTokens);
        return coefficient * meanEntropy;
    }

    /// <summary>The coefficient in force.</summary>
    public double Coefficient => coefficient;

    /// <summary>Adapts the coefficient.</summary>
    public void Advance(IReadOnlyDictionary<string, double> metrics)
    {
        if (options.Target is not { } target) return;
        double step = options.Step ?? EntropyBonusOptions.DefaultStep;
        coefficient = Math.Clamp(coefficient + (metrics[MeanEntropyMetric] < target ? step : -step), 0, options.Maximum ?? EntropyBonusOptions.DefaultMaximum);
    }

    /// <summary>The coefficient by name; empty where it does not adapt.</summary>
    public IEnumerable<KeyValuePair<string, double>> State => options.Target is null ? [] : [KeyValuePair.Create(CoefficientState, coefficient)];

    /// <summary>Takes the coefficient back.</summary>
    public void Restore(IReadOnlyDictionary<string, double> state)
    {
        if (options.Target is null) return;
        if (!state.TryGetValue(CoefficientState, out double saved) || saved is not (>= 0 and < double.PositiveInfinity))
            throw new UserErrorException("The checkpoint's objective state has no usable entropyCoefficient", "a number of 0 or more", "Go on from a checkpoint of a run with an adaptive entropy bonus");
        coefficient = saved;
    }
}
