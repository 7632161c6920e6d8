using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

/// <summary>Whole runs of a model that is too small to learn anything, from a run file.</summary>
internal static class TinyRun
{
    /// <summary>Options of a run with some members added, such as <c>"maxStaleness": 1</c>.</summary>
    public static RunOptions Options(int steps, string members = "", string learner = "", string rollout = "") => RunOptionsReader.Parse(Encoding.UTF8.GetBytes(
        $$"""
        {
          "name": "tiny", "seed": 3, "steps": {{steps}},
          "model": { "create": { "hiddenSize": 16, "layerCount": 1, "headCount": 2, "keyValueHeadCount": 1, "headSize": 16, "intermediateSize": 32, "maxPositions": 48 } },
          "task": { "kind": "addition" },
          "coldStart": { "steps": 20, "batchSize": 8 },
          "rollout": { "promptsPerStep": 4, "groupSize": 2, "maxNewTokens": 12, {{rollout}} },
          "engine": { "slots": 8 },
          "learner": { "miniBatches": 2, "learningRate": 1e-3, {{learner}} },
          "evaluation": { "problems": 0 },
          {{members}}
        }
        """), "tiny.json");

    /// <summary>Runs to the end.</summary>
    public static async Task<IReadOnlyList<StepRecord>> RunAsync(RunOptions options, string folder)
    {
        var recorder = new RunRecorder();
        await RunSession.RunAsync(options, folder, fresh: false, recorder, TimeProvider.System, default);
        return recorder.Records;
    }

    /// <summary>Runs, interrupts after a step, and continues to the end.</summary>
    public static async Task RunInterruptedAsync(RunOptions options, string folder, long after)
    {
        using var stop = new CancellationTokenSource();
        var first = new RunRecorder { OnStep = record => { if (record.Step == after) stop.Cancel(); } };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunSession.RunAsync(options, folder, fresh: false, first, TimeProvider.System, stop.Token));
        Assert.Equal(after, first.Records[^1].Step);
        var second = new RunRecorder();
        await RunSession.RunAsync(options, folder, fresh: false, second, TimeProvider.System, default);
        Assert.Equal(after + 1, second.Records[0].Step);
    }

    /// <summary>The metrics of a run, the times left out.</summary>
    public static string WithoutTimes(string folder) => string.Join('\n', File.ReadLines(Path.Combine(folder, "metrics.jsonl")).Select(line =>
    {
        var record = JsonNode.Parse(line)!.AsObject();
        Assert.True(record.Remove("time"));
        return record.ToJsonString(JsonSerializerOptions.Default);
    }));
}

/// <summary>Remembers what a run says.</summary>
internal sealed class RunRecorder : IRunObserver
{
    public List<StepRecord> Records { get; } = [];

    public List<string> News { get; } = [];

    public Action<StepRecord>? OnStep { get; init; }

    public Action<ColdStartRecord>? OnColdStart { get; init; }

    public void Say(string line) => News.Add(line);

    public void ColdStartAdvanced(ColdStartRecord record, int steps)
    {
        News.Add($"cold start {record.Step} of {steps}");
        OnColdStart?.Invoke(record);
    }

    public void Evaluated(string moment, EvaluationResult result) => News.Add(moment);

    public void StepDone(StepRecord record, int steps)
    {
        Records.Add(record);
        OnStep?.Invoke(record);
    }
}
