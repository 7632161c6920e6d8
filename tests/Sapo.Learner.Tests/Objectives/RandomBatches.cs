using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Seeded batches for the properties that every objective must have.</summary>
internal static class RandomBatches
{
    /// <summary>|V| for the objectives that look at it.</summary>
    public const int VocabularySize = 50;

    /// <summary>Options that each objective of the catalog can be built with, with bounds that some tokens cross.</summary>
    public static ObjectiveOptions OptionsOf(string name)
    {
        ObjectiveEntry entry = ObjectiveCatalog.Find(name);
        ObjectiveOptions options = new() { Name = name };
        return entry.Defaults.Aggregation == ObjectiveCatalog.ConstantNorm ? options with { NormConstant = 16 } : options;
    }

    /// <summary>Rows of the given lengths; about one token in five is a hole. Log-ratios reach about +-<paramref name="spread"/>.</summary>
    public static ObjectiveBatch Make(int seed, double spread, params int[] lengths)
    {
        var random = new Random(seed);
        int[] offsets = [0, .. lengths.Select((_, row) => lengths[..(row + 1)].Sum())];
        int tokens = offsets[^1];
        double[] Draw(double from, double to) => [.. Enumerable.Range(0, tokens).Select(_ => from + (to - from) * random.NextDouble())];
        double[] old = Draw(-3, -0.5), moves = Draw(-spread, spread), noise = Draw(-0.2, 0.2);
        double[] signs = [.. lengths.Select((_, row) => (row % 2 == 0 ? 1 : -1) * (0.25 + random.NextDouble()))];
        bool[] mask = [.. Enumerable.Range(0, tokens).Select(_ => random.NextDouble() > 0.2)];
        double[] kl = Draw(0.01, 0.1), variance = Draw(0.05, 0.2), objectiveShift = Draw(-0.005, 0.02), policyShift = Draw(0, 1.5e-4);
        double[] topSampler = Draw(0.2, 0.5), topCurrent = Draw(0.2, 0.5);
        return new ObjectiveBatch
        {
            RowOffsets = offsets,
            LogProbs = [.. old.Zip(moves, (left, right) => left + right)],
            AnchorLogProbs = old,
            Advantages = [.. lengths.SelectMany((length, row) => Enumerable.Repeat(signs[row], length))],
            Mask = mask,
            SamplerLogProbs = [.. old.Zip(noise, (left, right) => left + right)],
            ReferenceLogProbs = Draw(-3, -0.5),
            OldEntropies = Draw(0.1, 3),
            Entropies = Draw(0.1, 3),
            Distributions = new TokenDistributions
            {
                OldToCurrentKl = kl,
                LogRatioVariance = variance,
                ObjectiveShift = objectiveShift,
                PolicyShift = policyShift,
                AnchorTopK = [.. topSampler.Select(p => new[] { p, 0.3 })],
                CurrentTopK = [.. topCurrent.Select(p => new[] { p, 0.25 })],
                SampledInTopK = [.. mask.Select((_, token) => token % 2 == 0)],
            },
            Totals = ObjectiveBatch.TotalsOf(offsets, mask),
        };
    }

    /// <summary>The same batch with every log-ratio 0.</summary>
    public static ObjectiveBatch OnPolicy(ObjectiveBatch batch) => batch with
    {
        LogProbs = batch.AnchorLogProbs,
        Distributions = batch.Distributions! with
        {
            OldToCurrentKl = new double[batch.TokenCount],
            ObjectiveShift = new double[batch.TokenCount],
            PolicyShift = new double[batch.TokenCount],
        },
    };
}
