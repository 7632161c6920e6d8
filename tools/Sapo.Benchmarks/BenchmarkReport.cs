using System.Text.Json.Serialization;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>Two speeds of the same work, measured in turns.</summary>
/// <param name="Name">What is compared with what.</param>
/// <param name="Value">The first divided by the second.</param>
/// <param name="First">The first, in <paramref name="Unit"/>.</param>
/// <param name="Second">The second.</param>
/// <param name="Unit">Of both.</param>
/// <param name="Workload">The work.</param>
internal sealed record BenchmarkRatio(string Name, double Value, double First, double Second, string Unit, string Workload)
{
    /// <summary>Divides.</summary>
    public static BenchmarkRatio Of(string name, double first, double second, string unit, string workload) => new(name, first / second, first, second, unit, workload);

    /// <summary>Ratios as a table.</summary>
    public static ProfileTable Table(IEnumerable<BenchmarkRatio> ratios)
    {
        var table = new ProfileTable("ratio", "value", "first", "second", "unit", "work");
        foreach (var ratio in ratios)
            table.Add(ratio.Name, ProfileText.Number(ratio.Value), ProfileText.Number(ratio.First), ProfileText.Number(ratio.Second), ratio.Unit, ratio.Workload);
        return table;
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
/// <param name="Rollouts">The engine's runs behind them, by name.</param>
/// <param name="Learner">The learner's two layouts.</param>
/// <param name="Swap">A version switch.</param>
/// <param name="Publish">A publish.</param>
internal sealed record ModelBenchmark(
    ProfiledModelInfo Model, IReadOnlyList<BenchmarkRatio> Ratios, IReadOnlyDictionary<string, RolloutPoint> Rollouts, IReadOnlyList<LearnerPoint> Learner, SwapTimes Swap, PublishTimes Publish);

/// <summary>One run of all benchmarks: the content of a results file.</summary>
/// <param name="Context">Machine, commit, versions, and whether other work was running.</param>
/// <param name="Limits">What the machine could do at that time.</param>
/// <param name="Turns">How often each run was repeated; the fastest counts.</param>
/// <param name="Models">One entry per model.</param>
internal sealed record BenchmarkReport(ProfileContext Context, MachineLimits Limits, int Turns, IReadOnlyList<ModelBenchmark> Models);

/// <summary>Writes results.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(BenchmarkReport))]
internal sealed partial class BenchmarkJson : JsonSerializerContext;
