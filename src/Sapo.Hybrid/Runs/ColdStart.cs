// Supervised steps before reinforcement learning:
//
//   step -> ... -> every 50 steps: a line of coldstart.jsonl, then a checkpoint -> ... -> the run's checkpoint 0
//
// Examples and learning rates are functions of the step's number, so with the optimizer's moments a checkpoint holds all that
// going on needs: an interrupted cold start gives the weights of an uninterrupted one, bit for bit.
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner;
using Sapo.Learner.Optimization;

namespace Sapo.Hybrid.Runs;

/// <summary>How far a cold start has come.</summary>
/// <param name="Step">Supervised steps done.</param>
/// <param name="Tokens">Tokens computed so far, prompts included.</param>
/// <param name="LossSum">Sum of the losses of the steps since the last line of coldstart.jsonl.</param>
/// <param name="LossCount">Number of those steps.</param>
public sealed record ColdStartProgress(int Step, long Tokens, double LossSum, int LossCount)
{
    /// <summary>The same after one more step.</summary>
    internal ColdStartProgress After(SupervisedReport report) => new(Step + 1, Tokens + report.ComputedTokens, LossSum + report.Loss, LossCount + 1);
}

/// <summary>Supervised steps on a task's worked examples.</summary>
/// <param name="options">How many, how fast.</param>
/// <param name="routerBalance">Weight of the load-balance loss of a mixture of experts.</param>
/// <param name="examples">Worked example of a number, from 0; null where the task has none.</param>
/// <param name="learner">Trained.</param>
/// <param name="folder">The run's.</param>
/// <param name="checkpoints">The run's.</param>
/// <param name="observer">Follows it.</param>
/// <param name="time">The clock of the rates.</param>
internal sealed class ColdStart(
    ColdStartOptions options, double routerBalance, Func<long, SupervisedExample?> examples, PolicyLearner learner, RunFolder folder, Checkpoints checkpoints,
    IRunObserver observer, TimeProvider time)
{
    private const int StepsPerLine = 50;

    /// <summary>Runs all steps, or those that are left.</summary>
    /// <param name="from">The checkpoint that an interrupted cold start left, or null to begin.</param>
    /// <param name="clock">The run's clock.</param>
    /// <param name="cancel">Interrupts it between two steps; a checkpoint is left.</param>
    public void Run((string Folder, CheckpointState State)? from, RunClock clock, CancellationToken cancel)
    {
        using var training = learner.StartSupervised(
            new AdamWOptions { Beta1 = 0.9, Beta2 = 0.98, Epsilon = 1e-8, WeightDecay = 0, MaxGradientNorm = 1 }, routerBalance);
        var progress = Resumed(from, training);
        var saved = progress;
        void Save()
        {
            checkpoints.Save(new CheckpointState { Step = 0, Version = 0, NextPrompt = 0, ElapsedSeconds = clock.ElapsedSeconds, ColdStart = progress }, training.SaveState);
            saved = progress;
        }

        var (started, tokensBefore) = (time.GetTimestamp(), progress.Tokens);
        while (progress.Step < options.Steps)
        {
            if (cancel.IsCancellationRequested)
            {
                if (progress != saved) Save();
                observer.Say($"Interrupted: step {progress.Step} of {options.Steps} of the cold start is saved in {folder.Path}.");
                cancel.ThrowIfCancellationRequested();
            }
            progress = progress.After(training.Step(Batch(progress.Step), options.LearningRateAt(progress.Step)));
            var isLast = progress.Step == options.Steps;
            if (progress.Step % StepsPerLine != 0 && !isLast) continue;
            Report(progress, (progress.Tokens - tokensBefore) / time.GetElapsedTime(started).TotalSeconds);
            progress = progress with { LossSum = 0, LossCount = 0 };
            (started, tokensBefore) = (time.GetTimestamp(), progress.Tokens);
            if (!isLast) Save(); // after the last step the run's own checkpoint 0 comes
        }
    }

    /// <summary>Takes back what a checkpoint holds, and cuts off the lines of steps that will be repeated.</summary>
    private ColdStartProgress Resumed((string Folder, CheckpointState State)? from, SupervisedTraining training)
    {
        var progress = from?.State.ColdStart ?? new ColdStartProgress(0, 0, 0, 0);
        if (from is { } checkpoint)
        {
            training.RestoreState(checkpoint.Folder);
            observer.Say($"Continuing an interrupted cold start after step {progress.Step} of {options.Steps}.");
        }
        if (File.Exists(folder.ColdStartMetrics))
            RunLog.KeepSteps(folder.ColdStartMetrics, progress.Step, line => JsonSerializer.Deserialize(line, RunJson.Default.ColdStartRecord)!.Step);
        return progress;
    }

    private void Report(ColdStartProgress progress, double tokensPerSecond)
    {
        var record = new ColdStartRecord(
            progress.Step, progress.LossSum / progress.LossCount, options.LearningRateAt(progress.Step - 1), progress.Tokens, tokensPerSecond);
        RunLog.AppendLine(folder.ColdStartMetrics, JsonSerializer.Serialize(record, RunJson.Default.ColdStartRecord));
        observer.ColdStartAdvanced(record, options.Steps);
    }

    private SupervisedBatch Batch(int step) =>
        new([.. Enumerable.Range(0, options.BatchSize).Select(i => Example((long)step * options.BatchSize + i))]);

    private SupervisedExample Example(long number) =>
        examples(number)
            ?? throw new UserErrorException("coldStart is given, but the task has no worked examples", null, "Set coldStart to null");
}
