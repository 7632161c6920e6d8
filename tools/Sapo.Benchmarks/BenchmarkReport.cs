using System.Text.Json.Serialization;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>Two numbers of the same work, measured in turns.</summary>
/// <param name="Name">What is compared with what.</param>
/// <param name="Value">The first divided by the second: the median of the turns.</param>
/// <param name="First">The first, in <paramref name="Unit"/>: the median.</param>
/// <param name="Second">The second.</param>
/// <param name="Unit">Of both.</param>
/// <param name="Workload">The work.</param>
/// <param name="Target">What the value should be, on models of about 100 million parameters; null where nothing is aimed at.</param>
/// <param name="Turns">The ratio of every turn.</param>
internal sealed record BenchmarkRatio(string Name, double Value, double First, double Second, string Unit, string Workload, string? Target, IReadOnlyList<double> Turns)
{
    /// <summary>Divides turn by turn.</summary>
    public static BenchmarkRatio Of(string name, IReadOnlyList<double> firsts, IReadOnlyList<double> seconds, string unit, string workload, string? target = null)
    {
        double[] turns = [.. firsts.Zip(seconds, (first, second) => first / second)];
        return new BenchmarkRatio(name, Median(turns), Median(firsts), Median(seconds), unit, workload, target, turns);
    }

    /// <summary>Divides numbers that were measured once.</summary>
    public static BenchmarkRatio Of(string name, double first, double second, string unit, string workload) => Of(name, [first], [second], unit, workload);

    /// <summary>Ratios as a table.</summary>
    public static ProfileTable Table(IEnumerable<BenchmarkRatio> ratios)
    {
        var table = new ProfileTable("ratio", "value", "target", "first", "second", "unit", "work");
        foreach (var ratio in ratios)
            table.Add(ratio.Name, ProfileText.Number(ratio.Value), ratio.Target ?? "", ProfileText.Number(ratio.First), ProfileText.Number(ratio.Second), ratio.Unit, ratio.Workload);
        return table;
    }

    private static double Median(IReadOnlyList<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>How fast versions are published.</summary>
/// <param name="Bytes">Of the weights.</param>
/// <param name="PublishSeconds">From the learner's memory to a complete folder on the disk.</param>
/// <param name="PlainSeconds">Writing and flushing as many bytes to a file, nothing else.</param>
internal sealed record PublishTimes(long Bytes, double PublishSeconds, double PlainSeconds);

/// <summary>What was measured on one model.</summary>
/// <param name="Model">The model.</param>
/// <param name="Ratios">The findings.</param>
/// <param name="Rollouts">The engine's runs behind them, by name: of each the one of median speed.</param>
/// <param name="Learner">The learner's two layouts; empty where the engine alone was measured.</param>
/// <param name="Swaps">Version switches.</param>
/// <param name="Publish">A publish; null where the engine alone was measured.</param>
internal sealed record ModelBenchmark(
    ProfiledModelInfo Model, IReadOnlyList<BenchmarkRatio> Ratios, IReadOnlyDictionary<string, RolloutPoint> Rollouts, IReadOnlyList<LearnerPoint> Learner, IReadOnlyList<SwapTimes> Swaps, PublishTimes? Publish);

/// <summary>One run of all benchmarks: the content of a results file.</summary>
/// <param name="Context">Machine, commit, versions, and whether other work was running.</param>
/// <param name="Limits">What the machine could do at that time.</param>
/// <param name="Turns">How often each run was repeated, in turns.</param>
/// <param name="Models">One entry per model.</param>
internal sealed record BenchmarkReport(ProfileContext Context, MachineLimits Limits, int Turns, IReadOnlyList<ModelBenchmark> Models);

/// <summary>The learner beside another program on one model.</summary>
/// <param name="Model">The model.</param>
/// <param name="Ratios">The findings: medians over the turns, each of two speeds measured one after the other.</param>
internal sealed record LearnerComparisonResult(ProfiledModelInfo Model, IReadOnlyList<BenchmarkRatio> Ratios);

/// <summary>One comparison of the learner: the content of its results file.</summary>
/// <param name="Context">Machine, commit, versions, and whether other work was running.</param>
/// <param name="Limits">What the machine could do at that time.</param>
/// <param name="Turns">How often each pair was measured.</param>
/// <param name="Peer">What the other program is called, or null.</param>
/// <param name="Models">One entry per model.</param>
internal sealed record LearnerComparisonReport(ProfileContext Context, MachineLimits Limits, int Turns, string? Peer, IReadOnlyList<LearnerComparisonResult> Models);

/// <summary>Writes results.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(BenchmarkReport))]
[JsonSerializable(typeof(LearnerComparisonReport))]
internal sealed partial class BenchmarkJson : JsonSerializerContext;
