// One process's part in a study. Any number of them over one folder:
//
//   first cell that is neither finished nor claimed -> cold start (made once, shared) -> run -> cells.jsonl -> again
//
// A run under way lies in work/ and is begun afresh when its process died: cells are short, and a cell that was never
// interrupted is what its seed says, bit for bit.
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Profiling;
using Sapo.Hybrid.Runs;
using Sapo.Learner.Optimization;

namespace Sapo.Hybrid.Studies;

/// <summary>Takes cells of a study until all are finished.</summary>
internal sealed class StudyWorker(StudyFolder folder, IReadOnlyList<StudyCell> cells, Action<string> say, TimeProvider time)
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly string _machine = MachineText(ProfileContext.Look(time));

    /// <summary>Works until no cell is left; waits for cells that other processes have, and takes over those of a process that died.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        while (true)
        {
            var finished = folder.Finished(cells);
            if (cells.All(cell => finished.ContainsKey(cell.Id))) return;
            if (!await RunFirstFreeAsync(finished, cancel).ConfigureAwait(false))
                await Task.Delay(Pause, time, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>False where others have all that is left.</summary>
    private async Task<bool> RunFirstFreeAsync(IReadOnlyDictionary<string, CellResult> finished, CancellationToken cancel)
    {
        foreach (var cell in cells.Where(cell => !finished.ContainsKey(cell.Id)))
        {
            using var claim = folder.Claims.TryTake(cell.Id);
            if (claim is null) continue;
            if (folder.Finished(cells).ContainsKey(cell.Id)) return true; // finished by another before it was free
            if (await StartAsync(cell, cancel).ConfigureAwait(false) is not { } options) continue;
            var result = await RunAsync(cell, options, cancel).ConfigureAwait(false);
            folder.Append(result);
            say($"{folder.Finished(cells).Count}/{cells.Count} {cell.Id}: {Outcome(result)}, {result.Seconds:0.0} s");
            return true;
        }
        return false;
    }

    /// <summary>The cell's run, begun from the shared cold start; null while another process makes that.</summary>
    private async Task<RunOptions?> StartAsync(StudyCell cell, CancellationToken cancel)
    {
        var options = cell.Options with
        {
            Checkpoint = cell.Options.Checkpoint with { EverySteps = cell.Options.Steps },
            Log = new LogOptions { RolloutsEverySteps = 0, TensorBoard = false },
        };
        if (options.ColdStart is null) return options;
        var name = $"coldstart-{cell.ColdStartKey}";
        using var claim = folder.Claims.TryTake(name);
        if (claim is null) return null;
        var started = await RunSession.RunAsync(
            ColdStartOnly(options), folder.RunFolder(name), fresh: false, new Silent(), time, cancel).ConfigureAwait(false);
        if (!started.WasFinished) say($"cold start of {cell.Id} and the cells that begin like it: done");
        return options with { Model = new ModelOptions { Folder = Path.Combine(started.Folder, "coldstart") }, ColdStart = null };
    }

    /// <summary>
    /// A run of one step over what decides the cold start, and nothing that differs between the cells that share it; its
    /// cold-started model is what is wanted.
    /// </summary>
    private static RunOptions ColdStartOnly(RunOptions options) => new RunOptions
    {
        Name = options.Name,
        Seed = options.Seed,
        Model = options.Model,
        Task = options.Task,
        ColdStart = options.ColdStart,
        Steps = 1,
        Rollout = new RolloutOptions { PromptsPerStep = 1, GroupSize = 2, MaxNewTokens = 1 },
        Learner = new LearnerOptions { MiniBatches = 1, RouterBalance = options.Learner.RouterBalance },
        Evaluation = new EvaluationOptions { Problems = 0 },
        Log = new LogOptions { RolloutsEverySteps = 0, TensorBoard = false },
    }.Validated();

    private async Task<CellResult> RunAsync(StudyCell cell, RunOptions options, CancellationToken cancel)
    {
        var run = folder.RunFolder(cell.Id);
        if (Directory.Exists(run)) Directory.Delete(run, recursive: true);
        var began = time.GetTimestamp();
        var recorder = new Recorder();
        string? failure = null;
        try
        {
            await RunSession.RunAsync(options, run, fresh: false, recorder, time, cancel).ConfigureAwait(false);
        }
        catch (Exception stopped) when (stopped is TrainingDivergedException or PolicyBrokenException)
        {
            failure = stopped.Message;
        }
        var result = ToResult(cell, recorder, failure, time.GetElapsedTime(began).TotalSeconds);
        Directory.Delete(run, recursive: true);
        return result;
    }

    private CellResult ToResult(StudyCell cell, Recorder run, string? failure, double seconds) => new()
    {
        Cell = cell.Id,
        Fingerprint = cell.Fingerprint,
        Line = cell.Line,
        Levels = cell.Levels,
        Seed = cell.Seed,
        Before = Rounded(run.Evaluations.GetValueOrDefault("before")),
        After = Rounded(run.Evaluations.GetValueOrDefault("after")),
        Failure = failure,
        Curves = CellCurves.Of(run.Steps),
        MeanStaleness = run.Steps.Count == 0 ? 0 : CellCurves.Round(run.Steps.Average(step => step.Completions.MeanStaleness)),
        MaxStaleness = run.Steps.Count == 0 ? 0 : run.Steps.Max(step => step.Completions.MaxStaleness),
        SkippedUpdates = run.Steps.Sum(step => step.Learner.SkippedUpdates),
        Seconds = CellCurves.Round(seconds),
        Machine = _machine,
    };

    private static ShareWithInterval? Rounded(EvaluationResult? result) => result is null
        ? null
        : new(CellCurves.Round(result.PassAt1.Value), CellCurves.Round(result.PassAt1.Low), CellCurves.Round(result.PassAt1.High));

    private static string Outcome(CellResult result) => result switch
    {
        { Failure: { } failure } => $"diverged ({failure})",
        { After: { } after } => $"pass@1 {100 * after.Value:0.0}%",
        _ => $"last reward {result.Curves.Reward[^1]:0.000}",
    };

    private static string MachineText(ProfileContext machine) =>
        $"{machine.Processor}, {machine.Cores} core(s) per process, {machine.VectorInstructions}; {machine.OperatingSystem}, {machine.DotnetRuntime}; "
        + $"ONNX Runtime {machine.OnnxRuntime}, libtorch {machine.Torch} ({machine.Blas}); Sapo {machine.Program}";

    /// <summary>Nobody watches a cold start.</summary>
    private class Silent : IRunObserver
    {
        public void Say(string line)
        {
        }

        public void ColdStartAdvanced(ColdStartRecord record, int steps)
        {
        }

        public virtual void Evaluated(string moment, EvaluationResult result)
        {
        }

        public virtual void StepDone(StepRecord record, int steps)
        {
        }
    }

    /// <summary>Keeps what the study wants to know.</summary>
    private sealed class Recorder : Silent
    {
        public List<StepRecord> Steps { get; } = [];

        public Dictionary<string, EvaluationResult> Evaluations { get; } = new(StringComparer.Ordinal);

        public override void Evaluated(string moment, EvaluationResult result) => Evaluations[moment] = result;

        public override void StepDone(StepRecord record, int steps) => Steps.Add(record);
    }
}
