using Sapo.Core.Options;

namespace Sapo.Learner.Objectives;

/// <summary>How an objective weighs a token as its ratio moves: one line of a plot of the gradient weight W against r.</summary>
/// <param name="Objective">The objective's name.</param>
/// <param name="PositiveAdvantage">Whether the advantage is +1, else -1.</param>
/// <param name="Ratios">Abscissa: r.</param>
/// <param name="Weights">Ordinate: W.</param>
public sealed record WeightCurve(string Objective, bool PositiveAdvantage, double[] Ratios, double[] Weights);

/// <summary>
/// The curves of every objective whose weight is a function of one token's ratio and advantage: measured on a batch of
/// one-token completions, so that the curves are what training uses and not a second set of formulas.
/// </summary>
public static class WeightCurves
{
    /// <summary>The curves for A = +1 and A = -1.</summary>
    /// <param name="options">The objective with its knobs; defaults are filled in.</param>
    /// <param name="smallest">Smallest ratio, above 0.</param>
    /// <param name="largest">Largest ratio.</param>
    /// <param name="points">How many ratios, at least 2.</param>
    public static IReadOnlyList<WeightCurve> Of(ObjectiveOptions options, double smallest = 0.01, double largest = 3, int points = 300)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(smallest);
        ArgumentOutOfRangeException.ThrowIfLessThan(points, 2);
        double[] ratios = [.. Enumerable.Range(0, points).Select(point => smallest + (largest - smallest) * point / (points - 1))];
        return [Curve(options, ratios, 1), Curve(options, ratios, -1)];
    }

    /// <summary>Objectives whose weight is no function of one token's ratio and advantage, with the reason.</summary>
    public static IReadOnlyDictionary<string, string> Undrawable { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["bapo"] = "its bounds are searched over each mini-batch",
        ["guard-text"] = "its ratios are normalised over a mini-batch",
        ["capo"] = "its weight is GRPO's on the tokens that a model of the last layer keeps, and 0 on the others",
        ["espo"] = "its weight depends on the entropies of the completion's tokens",
    };

    /// <summary>Objectives of the catalog that <see cref="Of"/> can draw: those whose weight needs no whole mini-batch and no distributions.</summary>
    public static IReadOnlyList<string> Drawable { get; } =
        [.. ObjectiveCatalog.All.Select(entry => entry.Name).Where(name => !Undrawable.ContainsKey(name))];

    private static WeightCurve Curve(ObjectiveOptions options, double[] ratios, double advantage)
    {
        ObjectiveOptions measured = options with
        {
            Aggregation = ObjectiveCatalog.SequenceMean,
            NormConstant = null,
            Kl = null,
            EntropyBonus = null,
            Correction = null,
            OffPolicyThreshold = null,
            OffPolicyAgainst = null,
            TopEntropyFraction = null,
            EntropyClipQuantile = null,
            EntropyClipLow = null,
            EntropyClipHigh = null,
        };
        double[] logRatios = Array.ConvertAll(ratios, Math.Log);
        // The anchor's probability is low enough for the current one, ratio times it, to stay below 1.
        double anchor = -Math.Log(2 * Math.Max(1, ratios.Max()));
        ObjectiveResult result = ObjectiveRegistry.Create(measured, vocabularySize: 2).Evaluate(new ObjectiveBatch
        {
            RowOffsets = [.. Enumerable.Range(0, ratios.Length + 1)],
            LogProbs = Array.ConvertAll(logRatios, logRatio => anchor + logRatio),
            AnchorLogProbs = [.. Enumerable.Repeat(anchor, ratios.Length)],
            Advantages = [.. Enumerable.Repeat(advantage, ratios.Length)],
            Totals = new BatchTotals(ratios.Length, ratios.Length),
        });
        return new WeightCurve(options.Name, advantage > 0, ratios, result.Weights);
    }
}
