using Sapo.Hybrid.Preferences;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Reports;

/// <summary>Which curves a report shows.</summary>
internal static class ReportCharts
{
    public static IEnumerable<Chart> Of(ReportData data)
    {
        if (data.Steps.Count > 0)
        {
            yield return Reward(data);
            if (data.Steps.Any(step => step.Reward.Styles.Count > 0)) yield return Styles(data);
            yield return Length(data);
            yield return new Chart("Entropy", "nats per token", [Line(data, "entropy", 1, step => step.Learner.EntropyNats ?? double.NaN)])
            {
                Note = "Mean entropy of the next-token distribution over the trained completions", FromZero = true,
            };
            if (data.Steps.Any(step => step.Learner.GatePositive is not null || step.Learner.GateNegative is not null))
            {
                yield return Gate(data);
                yield return LowGate(data);
            }
            if (data.Steps.Any(step => step.Learner.MiniBatches[^1].Diagnostics is not null))
            {
                yield return Spread(data);
                yield return SequenceWeight(data);
            }
            yield return Mismatch(data);
            yield return new Chart(
                "Gradient norm", "2-norm before clipping", [Line(data, "gradient norm", 1, step => step.Learner.GradientNorm)])
            {
                Note = "Mean over the mini-batches of a step", FromZero = true,
            };
            yield return Signal(data);
            if (data.Steps.Any(step => step.Preferences is not null)) yield return Preferences(data);
            yield return Times(data);
        }
        if (data.ColdStart.Count > 1)
            yield return new Chart(
                "Cold start", "nats per token",
                [new Series("loss", [.. data.ColdStart.Select(record => ((double)record.Step, record.Loss))], 1)])
            {
                XLabel = "supervised step", Note = "Cross-entropy on the worked examples' tokens", FromZero = true,
            };
    }

    private static Series Line(ReportData data, string name, int colour, Func<StepRecord, double> value, bool dashed = false) =>
        new(name, [.. data.Steps.Select(step => ((double)step.Step, value(step)))], colour, dashed);

    private static Chart Reward(ReportData data)
    {
        var marks = new List<Mark>();
        foreach (var (result, step) in new[] { (data.Before, 0.0), (data.After, data.Steps[^1].Step) })
            if (result is not null)
                marks.Add(
                    new Mark("pass@1 held out, 95% interval", step, result.PassAt1.Value, result.PassAt1.Low, result.PassAt1.High, 2));
        var high = Math.Max(1, data.Steps.Max(step => step.Reward.Mean ?? 0));
        var low = Math.Min(0, data.Steps.Min(step => step.Reward.Mean ?? 0));
        return new Chart(
            "Reward", "mean reward", [Line(data, "training reward, fresh problems", 1, step => step.Reward.Mean ?? double.NaN)])
        {
            Note = "Mean over the completions of each step; dots: held-out problems before and after", Marks = marks, YRange = (low, high),
        };
    }

    private static Chart Styles(ReportData data)
    {
        var names = data.Steps.SelectMany(step => step.Reward.Styles.Keys).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        return new Chart(
            "Ways of solving", "share of completions",
            [.. names.Select((name, i) => Line(data, name, i + 1, step => step.Reward.Styles.GetValueOrDefault(name)))])
        {
            Note = "On problems where they differ", YRange = (0, 1),
        };
    }

    private static Chart Length(ReportData data) => new("Completion length", "tokens", [
        Line(data, "mean", 1, step => step.Completions.MeanTokens),
        Line(data, "longest", 2, step => step.Completions.MaxTokens, dashed: true),
    ])
    {
        Note = "End token included", FromZero = true,
    };

    private static Chart Gate(ReportData data) => new("Gate weight", "weight", [
        Line(data, "A > 0: p10", 3, step => step.Learner.GatePositive?.P10 ?? double.NaN, dashed: true),
        Line(data, "A > 0: median", 3, step => step.Learner.GatePositive?.P50 ?? double.NaN),
        Line(data, "A > 0: p90", 3, step => step.Learner.GatePositive?.P90 ?? double.NaN, dashed: true),
        Line(data, "A < 0: p10", 4, step => step.Learner.GateNegative?.P10 ?? double.NaN, dashed: true),
        Line(data, "A < 0: median", 4, step => step.Learner.GateNegative?.P50 ?? double.NaN),
        Line(data, "A < 0: p90", 4, step => step.Learner.GateNegative?.P90 ?? double.NaN, dashed: true),
    ])
    {
        Note = "The objective's weight on a token's gradient, by the sign of its advantage A; 1 = on policy",
    };

    private static Chart LowGate(ReportData data) => new("Tokens held back", "share of tokens", [
        Line(data, "A > 0", 3, step => step.Learner.MiniBatches[^1].Diagnostics?.Positive.BelowHalf ?? double.NaN),
        Line(data, "A < 0", 4, step => step.Learner.MiniBatches[^1].Diagnostics?.Negative.BelowHalf ?? double.NaN),
    ])
    {
        Note = "Share of tokens with a weight under 0.5 in the last mini-batch of a step, the one furthest off policy", YRange = (0, 1),
    };

    private static Chart Spread(ReportData data) => new("Log-ratio within completions", "variance", [
        Line(data, "median", 1, step => step.Learner.MiniBatches[^1].Diagnostics?.SequenceVariances?.P50 ?? double.NaN),
        Line(data, "p90", 1, step => step.Learner.MiniBatches[^1].Diagnostics?.SequenceVariances?.P90 ?? double.NaN, dashed: true),
    ])
    {
        Note = "Variance over the tokens of a completion, last mini-batch: small, and a token's gate acts on the completion as a whole", FromZero = true,
    };

    private static Chart SequenceWeight(ReportData data) => new("Log of the sequence weight", "nats", [
        Line(data, "p10", 2, step => step.Learner.MiniBatches[^1].Diagnostics?.LogSequenceWeights?.P10 ?? double.NaN, dashed: true),
        Line(data, "median", 2, step => step.Learner.MiniBatches[^1].Diagnostics?.LogSequenceWeights?.P50 ?? double.NaN),
        Line(data, "p90", 2, step => step.Learner.MiniBatches[^1].Diagnostics?.LogSequenceWeights?.P90 ?? double.NaN, dashed: true),
    ])
    {
        Note = "Sum of a completion's log-ratios, last mini-batch",
    };

    private static Chart Signal(ReportData data)
    {
        var lines = new List<Series> { Line(data, "all rewards equal: share of groups", 1, step => step.Reward.GroupsWithoutSignal) };
        if (data.Steps.Any(step => step.Reward.WastedShare > 0))
            lines.Add(Line(data, "replaced: share of completions", 2, step => step.Reward.WastedShare));
        return new Chart("Groups without signal", "share", lines)
        {
            Note = "All rewards of a group are equal: its advantages are exactly 0. A selection replaces such groups by further prompts", YRange = (0, 1),
        };
    }

    private static Chart Preferences(ReportData data) => new("Preference stages", "share of pairs, nats", [
        Stages(data, "accuracy", 3, stage => stage.Accuracy),
        Stages(data, "loss", 4, stage => stage.Loss),
    ])
    {
        Note = "Pairs whose better completion the policy prefers more than the stage's first policy did; mean of -log sigmoid(margin)", FromZero = true,
    };

    private static Series Stages(ReportData data, string name, int colour, Func<PreferenceSummary, double> value) =>
        new(name, [.. data.Steps.Where(step => step.Preferences is not null).Select(step => ((double)step.Step, value(step.Preferences!)))], colour);

    private static Chart Mismatch(ReportData data) => new("Engine against learner", "nats", [
        Line(data, "largest difference of a token", 2, step => step.Learner.Mismatch?.MaxNats ?? double.NaN),
        Line(data, "KL per token (k3)", 1, step => step.Learner.Mismatch?.KlNats ?? double.NaN),
    ])
    {
        Note = "Log-probs of the same tokens under the same weights", Logarithmic = true,
    };

    private static Chart Times(ReportData data)
    {
        var phases = data.Steps.SelectMany(step => step.Time.PhaseSeconds.Keys).Distinct(StringComparer.Ordinal).ToArray();
        return new Chart(
            "Time per step", "seconds",
            [.. phases.Select((phase, i) => Line(data, phase, i % 6 + 1, step => step.Time.PhaseSeconds.GetValueOrDefault(phase)))])
        {
            Note = "Phases on top of each other", Stacked = true,
        };
    }
}
