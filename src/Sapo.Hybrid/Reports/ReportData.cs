using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Reports;

/// <summary>What a report shows, read back from the run folder: it can be made again at any time.</summary>
internal sealed record ReportData
{
    public required RunOptions Options { get; init; }

    public required long ParameterCount { get; init; }

    public required MachineReport Machine { get; init; }

    public required IReadOnlyList<StepRecord> Steps { get; init; }

    public required IReadOnlyList<ColdStartRecord> ColdStart { get; init; }

    public required EvaluationResult? Before { get; init; }

    public required EvaluationResult? After { get; init; }

    public required IReadOnlyList<RolloutRecord> RolloutsBefore { get; init; }

    public required IReadOnlyList<RolloutRecord> RolloutsAfter { get; init; }

    /// <summary>Reads a finished run.</summary>
    /// <exception cref="UserErrorException">A file is broken.</exception>
    public static ReportData Read(RunFolder folder, RunOptions options, long parameterCount, MachineReport machine) => new()
    {
        Options = options,
        ParameterCount = parameterCount,
        Machine = machine,
        Steps = Lines(folder.Metrics, line => JsonSerializer.Deserialize(line, RunJson.Default.StepRecord)!),
        ColdStart = Lines(folder.ColdStartMetrics, line => JsonSerializer.Deserialize(line, RunJson.Default.ColdStartRecord)!),
        Before = EvaluationFile.Read(folder, "before"),
        After = EvaluationFile.Read(folder, "after"),
        RolloutsBefore = Lines(folder.RolloutFile("before"), line => JsonSerializer.Deserialize(line, RunJson.Default.RolloutRecord)!),
        RolloutsAfter = Lines(folder.RolloutFile("after"), line => JsonSerializer.Deserialize(line, RunJson.Default.RolloutRecord)!),
    };

    private static IReadOnlyList<T> Lines<T>(string path, Func<string, T> parse)
    {
        if (!File.Exists(path)) return [];
        return [.. File.ReadLines(path).Select((line, index) =>
        {
            try
            {
                return parse(line);
            }
            catch (JsonException broken)
            {
                throw new UserErrorException($"{path}, line {index + 1} cannot be read: {broken.Message}", null, "Remove the line and run again: the report is then made without it", broken);
            }
        })];
    }
}
