// What a run writes for people and for programs that read along: metrics.jsonl, rollouts, TensorBoard events. A line is
// written before its step's checkpoint, so after a kill there may be lines of steps that will be repeated: opening the log
// cuts them off.
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Runs;

/// <summary>The log of one run. Not thread-safe: the loop writes it.</summary>
public sealed class RunLog : IDisposable
{
    private readonly RunFolder _folder;
    private readonly LogOptions _options;
    private readonly TensorBoardWriter? _tensorBoard;

    /// <summary>Opens the log, cutting off what was written after the checkpoint that the run goes on from.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="options">What to write.</param>
    /// <param name="step">The last step that counts.</param>
    /// <param name="time">The clock of the event files.</param>
    public RunLog(RunFolder folder, LogOptions options, long step, TimeProvider time)
    {
        (_folder, _options) = (folder, options);
        if (File.Exists(folder.Metrics)) KeepSteps(folder.Metrics, step, line => JsonSerializer.Deserialize(line, RunJson.Default.StepRecord)!.Step);
        if (options.TensorBoard) _tensorBoard = new TensorBoardWriter(folder.TensorBoard, time);
    }

    /// <summary>Adds a step.</summary>
    public void Write(StepRecord record, IReadOnlyList<ScoredGroup> groups, RewardJudge judge)
    {
        if (_options.RolloutsEverySteps > 0 && record.Step % _options.RolloutsEverySteps == 0)
            RolloutLines.Write(_folder.RolloutFile($"step-{record.Step:D6}"), groups, judge);
        AppendLine(_folder.Metrics, JsonSerializer.Serialize(record, RunJson.Default.StepRecord));
        _tensorBoard?.Write(record.Step, Scalars(JsonSerializer.SerializeToElement(record, RunJson.Default.StepRecord), ""));
    }

    /// <summary>Writes the rollouts of a step that was refused, whatever the options say: they show what is wrong.</summary>
    public void WriteRefused(IReadOnlyList<ScoredGroup> groups, RewardJudge judge) => RolloutLines.Write(_folder.RolloutFile("refused"), groups, judge);

    /// <summary>Appends one line, complete or not at all as far as readers can tell.</summary>
    public static void AppendLine(string path, string line)
    {
        using var stream = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read);
        stream.Write(System.Text.Encoding.UTF8.GetBytes(line + "\n"));
    }

    /// <summary>Cuts off the lines of steps that will be repeated.</summary>
    /// <param name="path">A file of lines in the order of their steps.</param>
    /// <param name="step">The last step that counts.</param>
    /// <param name="stepOf">Reads a line's step.</param>
    public static void KeepSteps(string path, long step, Func<string, long> stepOf)
    {
        var kept = new List<string>();
        foreach (var line in File.ReadLines(path))
        {
            if (!TryReadStep(line, stepOf, out var found) || found > step) break; // a half-written last line is no step
            kept.Add(line);
        }
        AtomicFile.WriteAllBytes(path, System.Text.Encoding.UTF8.GetBytes(string.Concat(kept.Select(line => line + "\n"))));
    }

    /// <inheritdoc />
    public void Dispose() => _tensorBoard?.Dispose();

    private static bool TryReadStep(string line, Func<string, long> stepOf, out long step)
    {
        try
        {
            step = stepOf(line);
            return true;
        }
        catch (JsonException)
        {
            step = 0;
            return false;
        }
    }

    /// <summary>Every number of a record under its path, such as <c>reward/mean</c>; the items of a list count from 1.</summary>
    private static IEnumerable<KeyValuePair<string, double>> Scalars(JsonElement element, string path)
    {
        if (element.ValueKind == JsonValueKind.Number) yield return new(path, element.GetDouble());
        if (element.ValueKind == JsonValueKind.Array)
            foreach (var (item, index) in element.EnumerateArray().Select((item, index) => (item, index)))
                foreach (var scalar in Scalars(item, $"{path}/{index + 1}")) yield return scalar;
        if (element.ValueKind != JsonValueKind.Object) yield break;
        foreach (var member in element.EnumerateObject())
            foreach (var scalar in Scalars(member.Value, path.Length == 0 ? member.Name : $"{path}/{member.Name}")) yield return scalar;
    }
}
