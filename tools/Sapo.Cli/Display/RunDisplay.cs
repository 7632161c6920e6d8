using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Spectre.Console;

namespace Sapo.Cli.Display;

/// <summary>Shows a run: a live table in a terminal, plain lines elsewhere.</summary>
internal abstract class RunDisplay : IRunObserver, IDisposable
{
    private static readonly string[] Phases = ["rollout", "learn", "publish", "swap"];

    public static RunDisplay Create(IAnsiConsole console, RunOptions options) =>
        console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi
            ? new LiveDisplay(console, options)
            : new PlainDisplay(console);

    public abstract void Say(string line);

    public abstract void ColdStartAdvanced(ColdStartRecord record, int steps);

    public abstract void Evaluated(string moment, EvaluationResult result);

    public abstract void StepDone(StepRecord record, int steps);

    public abstract void Dispose();

    protected static string EvaluationLine(string moment, EvaluationResult result) =>
        $"Evaluation {moment} training: pass@1 {ResultText.Share(result.PassAt1)} on {result.Problems} held-out problems, "
        + $"{result.MeanTokens:0.0} tokens each, {result.Seconds:0.0} s";

    /// <summary>What is shown of a step: names and values.</summary>
    protected static IReadOnlyList<(string Name, string Value)> Cells(StepRecord record, int steps) =>
    [
        ("step", $"{record.Step}/{steps}"),
        ("reward", record.Reward.Mean?.ToString("0.000") ?? "none"),
        ("pass@1", record.Reward.PassRate.ToString("0.000")),
        ("mismatch", record.Learner.Mismatch?.MaxNats.ToString("0.0e0") ?? "none"),
        ("entropy", record.Learner.EntropyNats?.ToString("0.000") ?? "none"),
        ("length", record.Completions.MeanTokens.ToString("0.0")),
        ("engine tok/s", record.Time.EngineTokensPerSecond.ToString("N0")),
        ("learner tok/s", record.Time.LearnerTokensPerSecond.ToString("N0")),
        ("log-prob", LogProb(record.Comparison)),
        ("seconds: rollout learn publish swap", string.Join(' ', Phases.Select(phase => Seconds(record, phase)))),
    ];

    private static string LogProb(VersionComparison? comparison) =>
        comparison is null ? "none" : $"{comparison.LogProbNats:0.000} ({comparison.LogProbNats - comparison.PreviousLogProbNats:+0.000;-0.000})";

    private static string Seconds(StepRecord record, string phase) => record.Time.PhaseSeconds.GetValueOrDefault(phase).ToString("0.00");
}
