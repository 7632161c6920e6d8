using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Tests.Runs;

/// <summary>A cold start alone, stopped in the middle of two lines of its log.</summary>
public sealed class ColdStartTests
{
    private const int BatchSize = 4, Steps = 130;

    [Theory]
    [InlineData(20)] // before the first line
    [InlineData(76)] // between two
    public void Run_StoppedBetweenTwoLinesAndContinued_WritesTheSameWeightsAndLosses(int stopAt)
    {
        using var folder = new TemporaryFolder();
        var model = NewModel(folder);
        using var stop = new CancellationTokenSource();
        var task = new AdditionTask(seed: 3);
        SupervisedExample? Stopping(long number)
        {
            if (number == BatchSize * (stopAt - 1)) stop.Cancel();
            return task.Example(number);
        }

        var straight = Run(folder.At("straight"), model, task.Example, default);
        Assert.Throws<OperationCanceledException>(() => { Run(folder.At("stopped"), model, Stopping, stop.Token); });
        File.AppendAllText(folder.At("stopped", "coldstart.jsonl"), "{\"step\":1"); // a kill in the middle of a line
        Assert.True(Directory.Exists(folder.At("stopped", "checkpoints", $"coldstart-{stopAt:D6}")));
        Assert.Equal(straight, Run(folder.At("stopped"), model, task.Example, default));
        Assert.Equal(Losses(folder.At("straight")), Losses(folder.At("stopped")));
        Assert.Equal([50, 100, 130], Losses(folder.At("stopped")).Select(line => line.Step));
    }

    /// <summary>Runs or continues a cold start; the learner's state afterwards.</summary>
    private static byte[] Run(string path, string model, Func<long, SupervisedExample?> examples, CancellationToken cancel)
    {
        using var folder = RunFolder.Open(path, TinyRun.Options(1), fresh: false);
        using var learner = new PolicyLearner(model, new LearnerOptions(), ObjectiveRegistry.Create(new ObjectiveOptions(), vocabularySize: 64));
        var checkpoints = new Checkpoints(folder.Checkpoints, keep: 2);
        new ColdStart(new ColdStartOptions { Steps = Steps, BatchSize = BatchSize }, 0, examples, learner, folder, checkpoints, new RunRecorder(), TimeProvider.System)
            .Run(checkpoints.Newest(), new RunClock(TimeProvider.System, 0), cancel);
        learner.SaveState(Path.Combine(path, "state"));
        return File.ReadAllBytes(Path.Combine(path, "state", "learner.safetensors"));
    }

    private static string NewModel(TemporaryFolder folder)
    {
        using var run = RunFolder.Open(folder.At("made"), TinyRun.Options(1), fresh: false);
        return FirstModel.Prepare(TinyRun.Options(1), run);
    }

    private static List<(int Step, double Loss, long Tokens)> Losses(string folder) =>
        [.. File.ReadLines(Path.Combine(folder, "coldstart.jsonl")).Select(line => JsonDocument.Parse(line).RootElement).Select(line =>
            (line.GetProperty("step").GetInt32(), line.GetProperty("loss").GetDouble(), line.GetProperty("tokens").GetInt64()))];
}
