using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Spectre.Console;

namespace Sapo.Cli.Display;

/// <summary>Shows a run: a live table in a terminal, plain lines elsewhere.</summary>
internal abstract class RunDisplay : IRunObserver, IDisposable
{
    public static RunDisplay Create(IAnsiConsole console, RunOptions options) =>
        console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi ? new LiveDisplay(console, options) : new PlainDisplay(console);

    public abstract void Say(string line);

    public abstract void ColdStartAdvanced(ColdStartRecord record, int steps);

    public abstract void Evaluated(string moment, EvaluationResult result);

    public abstract void StepDone(StepRecord record, int steps);

    public abstract void Dispose();

    protected static string EvaluationLine(string moment, EvaluationResult result) =>
        $"Evaluation {moment} training: pass@1 {ResultText.Share(result.PassAt1)} on {result.Problems} held-out problems, {result.MeanTokens:0.0} tokens each, {result.Seconds:0.0} s";

    /// <summary>The columns of a step, in the order of <see cref="StepCells"/>.</summary>
    protected static IReadOnlyList<string> StepColumns { get; } = ["step", "reward", "pass@1", "mismatch", "entropy", "length", "engine tok/s", "learner tok/s", "seconds: rollout learn publish swap"];

    protected static string[] StepCells(StepRecord record, int steps)
    {
        string Seconds(string phase) => record.Time.PhaseSeconds.GetValueOrDefault(phase).ToString("0.00");
        return
        [
            $"{record.Step}/{steps}", record.Reward.Mean?.ToString("0.000") ?? "none", record.Reward.PassRate.ToString("0.000"), record.Learner.Mismatch?.MaxNats.ToString("0.0e0") ?? "none",
            record.Learner.EntropyNats?.ToString("0.000") ?? "none", record.Completions.MeanTokens.ToString("0.0"), record.Time.EngineTokensPerSecond.ToString("N0"),
            record.Time.LearnerTokensPerSecond.ToString("N0"), $"{Seconds("rollout")} {Seconds("learn")} {Seconds("publish")} {Seconds("swap")}",
        ];
    }
}
