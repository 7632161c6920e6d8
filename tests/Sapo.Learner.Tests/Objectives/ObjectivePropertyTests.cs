using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>What must hold for every objective of the catalog, whatever its formula.</summary>
public sealed class ObjectivePropertyTests
{
    /// <summary>Five-point differences of step 1e-4 in float64: truncation about 1e-15, rounding about 1e-12.</summary>
    private const double DifferenceTolerance = 1e-8;

    /// <summary>The same sums in another order.</summary>
    private const double OrderTolerance = 1e-14;

    private const double Step = 1e-4;

    /// <summary>Objectives of the form sg[W] A l: J's derivative is not the gradient, because W moves too.</summary>
    private static readonly string[] Detached = ["cispo", "cispo-absolute", "minpro-soft", "aspo", "dppo", "vespo"];

    /// <summary>
    /// Objectives with another part held constant while l moves: gspo-token's sg[s], minpro-hard's prefix minimum, espo's sg[s_k],
    /// guard-text's statistics. The reference values hold their gradients.
    /// </summary>
    private static readonly string[] PartlyDetached = ["gspo-token", "minpro-hard", "espo", "guard-text"];

    private static readonly string[] All = [.. ObjectiveCatalog.All.Select(entry => entry.Name)];

    public static TheoryData<string> Names => [.. All];

    public static TheoryData<string> DetachedNames => [.. Detached];

    public static TheoryData<string> AttachedNames => [.. Without(Detached)];

    public static TheoryData<string> DifferentiableNames => [.. Without(Detached, PartlyDetached)];

    /// <summary>Not espo and capo, whose coefficients are their own: group means, kept tokens.</summary>
    public static TheoryData<string> AggregatedNames => [.. Without(["espo", "capo"])];

    /// <summary>Not r2vpo, whose constraint pulls tokens with A = 0 back to r = 1.</summary>
    public static TheoryData<string> AdvantageNames => [.. Without(["r2vpo"])];

    public static TheoryData<string> SequenceScopedNames => [.. All.Where(name => Create(name).Scope == ObjectiveScope.Sequence)];

    public static TheoryData<string> NamesWithoutSilentRows => [.. All.Where(name => !Create(name).Needs.HasFlag(ObjectiveNeeds.SilentRows))];

    private static IEnumerable<string> Without(params string[][] left) => All.Where(name => !left.Any(names => names.Contains(name, StringComparer.Ordinal)));

    private static IObjective Create(string name) => ObjectiveRegistry.Create(RandomBatches.OptionsOf(name), RandomBatches.VocabularySize);

    private static ObjectiveBatch Batch(int seed = 11) => RandomBatches.Make(seed, 0.4, 5, 0, 3, 7, 2);

    [Theory]
    [MemberData(nameof(DifferentiableNames))]
    public void Gradient_DifferentiableForm_EqualsDifferencesOfTheValue(string name)
    {
        ObjectiveBatch batch = Batch();
        IObjective objective = Create(name);
        double[] gradient = objective.Evaluate(batch).Gradient;
        for (int token = 0; token < batch.TokenCount; token++)
            Assert.Equal(Difference(objective, batch, token), gradient[token], DifferenceTolerance);
    }

    [Theory]
    [MemberData(nameof(DetachedNames))]
    public void Value_DetachedForm_IsWeightTimesAdvantageTimesLogProb(string name)
    {
        ObjectiveBatch batch = Batch();
        ObjectiveOptions options = RandomBatches.OptionsOf(name).Resolved();
        ObjectiveResult result = Create(name).Evaluate(batch);
        double[] coefficients = Coefficients(options, batch);
        double value = Enumerable.Range(0, batch.TokenCount).Sum(token => coefficients[token] * result.Weights[token] * batch.Advantages[token] * batch.LogProbs[token]);
        Assert.Equal(value, result.Value, OrderTolerance);
    }

    [Theory]
    [MemberData(nameof(AggregatedNames))]
    public void Gradient_EveryForm_IsWeightTimesAdvantageTimesCoefficient(string name)
    {
        ObjectiveBatch batch = Batch();
        ObjectiveResult result = Create(name).Evaluate(batch);
        double[] coefficients = Coefficients(RandomBatches.OptionsOf(name).Resolved(), batch);
        for (int token = 0; token < batch.TokenCount; token++)
            Assert.Equal(coefficients[token] * result.Weights[token] * batch.Advantages[token], result.Gradient[token], OrderTolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Weight_OnPolicy_IsOne(string name)
    {
        ObjectiveBatch batch = RandomBatches.OnPolicy(Batch());
        ObjectiveResult result = Create(name).Evaluate(batch);
        for (int token = 0; token < batch.TokenCount; token++)
            Assert.Equal(batch.Mask![token] ? 1 : 0, result.Weights[token], OrderTolerance);
    }

    [Theory]
    [MemberData(nameof(AdvantageNames))]
    public void Gradient_ZeroAdvantage_IsExactlyZero(string name)
    {
        ObjectiveBatch batch = Batch();
        ObjectiveResult result = Create(name).Evaluate(batch with { Advantages = new double[batch.TokenCount] });
        Assert.All(result.Gradient, gradient => Assert.Equal(0.0, gradient));
        Assert.Equal(0.0, result.Value);
    }

    [Theory]
    [MemberData(nameof(SequenceScopedNames))]
    public void Evaluate_MicroBatches_AddUpToTheMiniBatch(string name)
    {
        IObjective objective = Create(name);
        ObjectiveBatch batch = Batch();
        ObjectiveResult whole = objective.Evaluate(batch);
        ObjectiveResult parts = ObjectiveResult.Sum([objective.Evaluate(batch.Slice(0, 2)), objective.Evaluate(batch.Slice(2, 1)), objective.Evaluate(batch.Slice(3, 2))]);
        Assert.Equal(whole.Value, parts.Value, OrderTolerance);
        Assert.Equal(whole.Gradient, parts.Gradient);
        Assert.Equal(whole.Weights, parts.Weights);
        foreach ((string metric, double value) in whole.Metrics) Assert.Equal(value, parts.Metrics[metric], OrderTolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Evaluate_HolesRemoved_ChangesNothing(string name)
    {
        ObjectiveBatch batch = Batch();
        int[] kept = [.. Enumerable.Range(0, batch.TokenCount).Where(token => batch.Mask![token])];
        ObjectiveBatch dense = Reorder(batch, kept, [.. Enumerable.Range(0, batch.Rows)]);
        IObjective objective = Create(name);
        ObjectiveResult holes = objective.Evaluate(batch), closed = objective.Evaluate(dense);
        Assert.Equal(holes.Value, closed.Value);
        Assert.Equal(kept.Select(token => holes.Gradient[token]), closed.Gradient);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Evaluate_RowsReversed_ChangesNothingButTheOrder(string name)
    {
        ObjectiveBatch batch = Batch();
        int[] rows = [.. Enumerable.Range(0, batch.Rows).Reverse()];
        int[] order = [.. rows.SelectMany(row => Enumerable.Range(batch.RowOffsets[row], batch.RowOffsets[row + 1] - batch.RowOffsets[row]))];
        IObjective objective = Create(name);
        ObjectiveResult forward = objective.Evaluate(batch), backward = objective.Evaluate(Reorder(batch, order, rows));
        Assert.Equal(forward.Value, backward.Value, OrderTolerance);
        for (int token = 0; token < order.Length; token++) Assert.Equal(forward.Gradient[order[token]], backward.Gradient[token], OrderTolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Evaluate_ExtremeLogRatios_StaysFinite(string name)
    {
        ObjectiveBatch batch = Batch();
        var moves = new[] { 25.0, -25, -1e4, 19, 0 };
        ObjectiveResult result = Create(name).Evaluate(batch with { LogProbs = [.. batch.AnchorLogProbs.Select((anchor, token) => anchor + moves[token % moves.Length])] });
        Assert.True(double.IsFinite(result.Value));
        Assert.All(result.Gradient, gradient => Assert.True(double.IsFinite(gradient)));
    }

    [Theory]
    [MemberData(nameof(AttachedNames))]
    public void Gradient_OutsideTheClamp_IsZero(string name)
    {
        ObjectiveBatch batch = Batch();
        ObjectiveResult result = Create(name).Evaluate(batch with { LogProbs = [.. batch.AnchorLogProbs.Select((anchor, token) => token % 2 == 0 ? anchor - 25 : anchor + 0.1)] });
        for (int token = 0; token < batch.TokenCount; token += 2) Assert.Equal(0.0, result.Gradient[token]);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Evaluate_NothingCounted_IsZero(string name)
    {
        ObjectiveBatch batch = Batch();
        ObjectiveBatch empty = batch with { Mask = new bool[batch.TokenCount], Totals = new BatchTotals(batch.Rows, 0) };
        ObjectiveResult result = Create(name).Evaluate(empty);
        double constant = name == "r2vpo" ? 0.04 * 0.01 : 0; // lambda * delta is part of its J
        Assert.Equal(constant, result.Value, OrderTolerance);
        Assert.All(result.Gradient, gradient => Assert.Equal(0.0, gradient));
    }

    [Theory]
    [MemberData(nameof(NamesWithoutSilentRows))]
    public void Evaluate_CompletionWithZeroAdvantage_CanBeLeftOut(string name)
    {
        ObjectiveBatch batch = Batch();
        // The last row gets A = 0; without it, its place in the totals stays.
        ObjectiveBatch silent = batch with { Advantages = [.. batch.Advantages.Select((advantage, token) => token < batch.RowOffsets[^2] ? advantage : 0)] };
        IObjective objective = Create(name);
        ObjectiveResult whole = objective.Evaluate(silent), without = objective.Evaluate(silent.Slice(0, silent.Rows - 1));
        Assert.Equal(whole.Value, without.Value, OrderTolerance);
        Assert.Equal(whole.Gradient[..without.Gradient.Length], without.Gradient);
        Assert.All(whole.Gradient[without.Gradient.Length..], gradient => Assert.Equal(0.0, gradient));
    }

    [Fact]
    public void Evaluate_LogProbNotANumber_NamesRowAndPosition()
    {
        ObjectiveBatch batch = Batch() with { Mask = null };
        batch = batch with { Totals = ObjectiveBatch.TotalsOf(batch.RowOffsets, null), LogProbs = [.. batch.LogProbs.Select((value, token) => token == 6 ? double.NaN : value)] };
        var error = Assert.Throws<UserErrorException>(() => Create("sapo").Evaluate(batch));
        Assert.Contains("row 2, position 1", error.Message, StringComparison.Ordinal); // rows of 5, 0 and 3 tokens
    }

    [Fact]
    public void Evaluate_JunkInHoles_ChangesNothing()
    {
        ObjectiveBatch batch = Batch();
        double[] junk = [.. batch.LogProbs.Select((value, token) => batch.Mask![token] ? value : double.NaN)];
        Assert.Equal(Create("sapo").Evaluate(batch).Gradient, Create("sapo").Evaluate(batch with { LogProbs = junk }).Gradient);
    }

    private static double Difference(IObjective objective, ObjectiveBatch batch, int token)
    {
        double At(double move) => objective.Evaluate(batch with { LogProbs = [.. batch.LogProbs.Select((value, index) => index == token ? value + move : value)] }).Value;
        return (At(-2 * Step) - 8 * At(-Step) + 8 * At(Step) - At(2 * Step)) / (12 * Step);
    }

    private static double[] Coefficients(ObjectiveOptions options, ObjectiveBatch batch)
    {
        var aggregation = new Aggregation(options.Aggregation!, options.NormConstant);
        var coefficients = new double[batch.TokenCount];
        for (int row = 0; row < batch.Rows; row++)
        {
            int[] counted = [.. Enumerable.Range(batch.RowOffsets[row], batch.RowOffsets[row + 1] - batch.RowOffsets[row]).Where(token => batch.Mask![token])];
            foreach (int token in counted) coefficients[token] = aggregation.Coefficient(counted.Length, batch.Totals);
        }
        return coefficients;
    }

    /// <summary>A batch of the given tokens of <paramref name="batch"/>, in that order, its rows in the order of <paramref name="rows"/>.</summary>
    private static ObjectiveBatch Reorder(ObjectiveBatch batch, int[] tokens, int[] rows)
    {
        T[] Pick<T>(T[] values) => Array.ConvertAll(tokens, token => values[token]);
        int[] lengths = [.. rows.Select(row => tokens.Count(token => token >= batch.RowOffsets[row] && token < batch.RowOffsets[row + 1]))];
        TokenDistributions distributions = batch.Distributions!;
        return batch with
        {
            RowOffsets = [0, .. lengths.Select((_, row) => lengths[..(row + 1)].Sum())],
            LogProbs = Pick(batch.LogProbs),
            AnchorLogProbs = Pick(batch.AnchorLogProbs),
            Advantages = Pick(batch.Advantages),
            Mask = Pick(batch.Mask!),
            SamplerLogProbs = Pick(batch.SamplerLogProbs!),
            ReferenceLogProbs = Pick(batch.ReferenceLogProbs!),
            OldEntropies = Pick(batch.OldEntropies!),
            Entropies = Pick(batch.Entropies!),
            Distributions = new TokenDistributions
            {
                OldToCurrentKl = Pick(distributions.OldToCurrentKl!),
                LogRatioVariance = Pick(distributions.LogRatioVariance!),
                ObjectiveShift = Pick(distributions.ObjectiveShift!),
                PolicyShift = Pick(distributions.PolicyShift!),
                AnchorTopK = Pick(distributions.AnchorTopK!),
                CurrentTopK = Pick(distributions.CurrentTopK!),
                SampledInTopK = Pick(distributions.SampledInTopK!),
            },
        };
    }
}
