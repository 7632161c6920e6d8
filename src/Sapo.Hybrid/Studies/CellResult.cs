using System.Text.Json.Serialization;
using Sapo.Hybrid.Runs;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Studies;

/// <summary>What one run of a study came to: a line of cells.jsonl. Numbers are rounded to five digits.</summary>
internal sealed record CellResult
{
    /// <summary><see cref="StudyCell.Id"/>.</summary>
    public required string Cell { get; init; }

    /// <summary><see cref="StudyCell.Fingerprint"/>.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>What is compared.</summary>
    public required string Line { get; init; }

    /// <summary>The level of each setting.</summary>
    public required IReadOnlyList<string> Levels { get; init; }

    /// <summary>The run's seed.</summary>
    public required long Seed { get; init; }

    /// <summary>pass@1 on held-out problems before training.</summary>
    public required ShareWithInterval? Before { get; init; }

    /// <summary>pass@1 on held-out problems after training; null where the run ended early.</summary>
    public required ShareWithInterval? After { get; init; }

    /// <summary>Why the run ended before its last step: training diverged, or the run's tripwire stopped it. Null where it did not.</summary>
    public required string? Failure { get; init; }

    /// <summary>Per step.</summary>
    public required CellCurves Curves { get; init; }

    /// <summary>Mean over steps and groups of how many versions a group lay behind.</summary>
    public required double MeanStaleness { get; init; }

    /// <summary>Most versions any group lay behind.</summary>
    public required long MaxStaleness { get; init; }

    /// <summary>Optimizer steps left out because their gradient was not finite.</summary>
    public required int SkippedUpdates { get; init; }

    /// <summary>Seconds that the run took.</summary>
    public required double Seconds { get; init; }

    /// <summary>What it ran on.</summary>
    public required string Machine { get; init; }
}

/// <summary>One number per step; null where nothing was trained on.</summary>
/// <param name="Reward">Mean training reward.</param>
/// <param name="Entropy">Nats per token.</param>
/// <param name="GradientNorm">Mean 2-norm before clipping over the step's mini-batches.</param>
/// <param name="LargestGradientNorm">The largest of them.</param>
/// <param name="Weight">The objective's weight W, mean over trained tokens.</param>
/// <param name="BelowHalf">Share of trained tokens with a weight under 0.5.</param>
/// <param name="LogRatioVariance">Var_i: variance of the log-ratio within a completion, mean over completions and mini-batches.</param>
internal sealed record CellCurves(
    double?[] Reward, double?[] Entropy, double?[] GradientNorm, double?[] LargestGradientNorm, double?[] Weight, double?[] BelowHalf,
    double?[] LogRatioVariance)
{
    private const int Digits = 5;

    /// <summary>The curves of a run's steps.</summary>
    public static CellCurves Of(IReadOnlyList<StepRecord> steps) => new(
        Curve(steps, step => step.Reward.Mean),
        Curve(steps, step => step.Learner.EntropyNats),
        Curve(steps, step => step.Learner.GradientNorm),
        Curve(steps, step => step.Learner.MiniBatches.Max(miniBatch => miniBatch.GradientNorm)),
        Curve(steps, step => OverTokens(step, weights => weights.Weights!.Mean)),
        Curve(steps, step => OverTokens(step, weights => weights.BelowHalf)),
        Curve(steps, step => step.Learner.MiniBatches.Average(miniBatch => miniBatch.Diagnostics?.SequenceVariances?.Mean)));

    /// <summary>Five significant digits.</summary>
    public static double Round(double value)
    {
        if (value == 0 || !double.IsFinite(value)) return value;
        var scale = Math.Pow(10, Digits - 1 - Math.Floor(Math.Log10(Math.Abs(value))));
        return double.IsFinite(scale) && scale > 0 ? Math.Round(value * scale) / scale : value;
    }

    private static double?[] Curve(IReadOnlyList<StepRecord> steps, Func<StepRecord, double?> value) =>
        [.. steps.Select(step => value(step) is { } number ? Round(number) : (double?)null)];

    private static double? OverTokens(StepRecord step, Func<WeightReport, double> value)
    {
        WeightReport[] parts = [.. step.Learner.MiniBatches.Select(miniBatch => miniBatch.Diagnostics).OfType<RatioDiagnostics>()
            .SelectMany(diagnostics => new[] { diagnostics.Positive, diagnostics.Negative }).Where(part => part.Weights is not null)];
        var tokens = parts.Sum(part => part.Tokens);
        return tokens == 0 ? null : parts.Sum(part => part.Tokens * value(part)) / tokens;
    }
}

/// <summary>Reads and writes what a study's folder holds as JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(CellResult))]
[JsonSerializable(typeof(StudySummary))]
internal sealed partial class StudyJson : JsonSerializerContext;
