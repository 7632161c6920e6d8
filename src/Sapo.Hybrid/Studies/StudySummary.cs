// cells.jsonl -> results.json: for every combination of settings and every line, the seeds together.
using Sapo.Core.Metrics;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Studies;

/// <summary>A number over seeds.</summary>
/// <param name="Mean">Mean.</param>
/// <param name="Low">Lower end of Student's 95% interval over seeds; null for fewer than three seeds, of which it says nothing.</param>
/// <param name="High">Upper end.</param>
/// <param name="Count">How many seeds.</param>
internal sealed record OverSeeds(double Mean, double? Low, double? High, int Count)
{
    private const int FewestForInterval = 3;

    /// <summary>The estimate; null without values. With <paramref name="share"/> the interval is cut to 0..1.</summary>
    public static OverSeeds? Of(IReadOnlyList<double> values, bool share = false)
    {
        if (values.Count == 0) return null;
        var estimate = MeanEstimate.Of(values);
        if (values.Count < FewestForInterval) return new(CellCurves.Round(estimate.Mean), null, null, values.Count);
        var interval = estimate.StudentInterval();
        var (low, high) = share ? (Math.Max(0, interval.Low), Math.Min(1, interval.High)) : (interval.Low, interval.High);
        return new(CellCurves.Round(estimate.Mean), CellCurves.Round(low), CellCurves.Round(high), values.Count);
    }
}

/// <summary>One number per step over the seeds; null where no seed has one.</summary>
/// <param name="Mean">Mean over seeds.</param>
/// <param name="Low">Lowest seed.</param>
/// <param name="High">Highest seed.</param>
internal sealed record CurveOverSeeds(double?[] Mean, double?[] Low, double?[] High)
{
    /// <summary>The seeds' curves together; a run that ended early counts while it lasted.</summary>
    public static CurveOverSeeds Of(IReadOnlyList<double?[]> curves)
    {
        var length = curves.Select(curve => curve.Length).DefaultIfEmpty(0).Max();
        double?[] Each(Func<double[], double> of) =>
            [.. Enumerable.Range(0, length).Select(step => curves.Select(curve => curve.ElementAtOrDefault(step)).OfType<double>().ToArray())
                .Select(values => values.Length == 0 ? (double?)null : CellCurves.Round(of(values)))];
        return new(Each(values => values.Average()), Each(values => values.Min()), Each(values => values.Max()));
    }
}

/// <summary>One line in one combination of settings: its seeds together.</summary>
internal sealed record StudyGroup
{
    /// <summary>Steps at the end that "late" numbers are means of.</summary>
    public const int LateSteps = 10;

    /// <summary>The level of each setting.</summary>
    public required IReadOnlyList<string> Levels { get; init; }

    /// <summary>What is compared.</summary>
    public required string Line { get; init; }

    /// <summary>The seeds that are finished.</summary>
    public required IReadOnlyList<long> Seeds { get; init; }

    /// <summary>pass@1 on held-out problems before training.</summary>
    public required OverSeeds? Before { get; init; }

    /// <summary>pass@1 on held-out problems after training, of the runs that came to their end.</summary>
    public required OverSeeds? After { get; init; }

    /// <summary>Mean training reward of the last steps.</summary>
    public required OverSeeds? LateReward { get; init; }

    /// <summary>Runs that collapsed, see <see cref="Stability"/>.</summary>
    public required int Collapses { get; init; }

    /// <summary>Mean over runs of <see cref="Stability.LargestFall"/>.</summary>
    public required double LargestFall { get; init; }

    /// <summary>Mean over runs of <see cref="Stability.Spikes"/>.</summary>
    public required double Spikes { get; init; }

    /// <summary>Mean over runs and the last steps of the entropy, nats per token.</summary>
    public required double? LateEntropy { get; init; }

    /// <summary>Mean over runs and steps of the mean weight.</summary>
    public required double? Weight { get; init; }

    /// <summary>Mean over runs and steps of the share of tokens with a weight under 0.5.</summary>
    public required double? BelowHalf { get; init; }

    /// <summary>Mean over runs and steps of the log-ratio's variance within a completion.</summary>
    public required double? LogRatioVariance { get; init; }

    /// <summary>Mean staleness as measured.</summary>
    public required double Staleness { get; init; }

    /// <summary>Largest staleness as measured.</summary>
    public required long MaxStaleness { get; init; }

    /// <summary>Optimizer steps left out because their gradient was not finite, of all runs.</summary>
    public required int SkippedUpdates { get; init; }

    /// <summary>Training reward by step.</summary>
    public required CurveOverSeeds Reward { get; init; }

    /// <summary>The seeds of one line in one combination; at least one.</summary>
    public static StudyGroup Of(IReadOnlyList<CellResult> cells)
    {
        Stability[] stability = [.. cells.Select(Stability.Of)];
        return new StudyGroup
        {
            Levels = cells[0].Levels,
            Line = cells[0].Line,
            Seeds = [.. cells.Select(cell => cell.Seed)],
            Before = OverSeeds.Of([.. cells.Select(cell => cell.Before?.Value).OfType<double>()], share: true),
            After = OverSeeds.Of([.. cells.Select(cell => cell.After?.Value).OfType<double>()], share: true),
            LateReward = OverSeeds.Of([.. cells.Select(cell => Mean(cell.Curves.Reward.TakeLast(LateSteps))).OfType<double>()]),
            Collapses = stability.Count(run => run.Collapsed),
            LargestFall = CellCurves.Round(stability.Average(run => run.LargestFall)),
            Spikes = CellCurves.Round(stability.Average(run => run.Spikes)),
            LateEntropy = Rounded(cells.Select(cell => Mean(cell.Curves.Entropy.TakeLast(LateSteps)))),
            Weight = Rounded(cells.Select(cell => Mean(cell.Curves.Weight))),
            BelowHalf = Rounded(cells.Select(cell => Mean(cell.Curves.BelowHalf))),
            LogRatioVariance = Rounded(cells.Select(cell => Mean(cell.Curves.LogRatioVariance))),
            Staleness = CellCurves.Round(cells.Average(cell => cell.MeanStaleness)),
            MaxStaleness = cells.Max(cell => cell.MaxStaleness),
            SkippedUpdates = cells.Sum(cell => cell.SkippedUpdates),
            Reward = CurveOverSeeds.Of([.. cells.Select(cell => cell.Curves.Reward)]),
        };
    }

    private static double? Mean(IEnumerable<double?> values) => values.Average();

    private static double? Rounded(IEnumerable<double?> values) => values.Average() is { } mean ? CellCurves.Round(mean) : null;
}

/// <summary>Two lines over the cells that both have finished: same settings, same seed, so same model, problems and random numbers.</summary>
/// <param name="Line">What is compared.</param>
/// <param name="Against">With what.</param>
/// <param name="After">pass@1 after training: mean difference Line - Against, with Student's interval over the pairs.</param>
/// <param name="LateReward">The same of the mean reward of the last steps.</param>
/// <param name="Higher">Pairs in which Line's late reward is higher.</param>
/// <param name="Lower">Pairs in which it is lower.</param>
internal sealed record PairedLines(string Line, string Against, OverSeeds? After, OverSeeds? LateReward, int Higher, int Lower)
{
    /// <summary>Compares two lines; null if they have no pair.</summary>
    public static PairedLines? Of(string line, string against, IReadOnlyList<CellResult> cells)
    {
        var others = cells.Where(cell => cell.Line == against).ToDictionary(Key, StringComparer.Ordinal);
        (CellResult Mine, CellResult Other)[] pairs =
            [.. cells.Where(cell => cell.Line == line && others.ContainsKey(Key(cell))).Select(cell => (cell, others[Key(cell)]))];
        if (pairs.Length == 0) return null;
        double[] late = [.. pairs.Select(pair => Late(pair.Mine) - Late(pair.Other)).OfType<double>()];
        return new PairedLines(
            line, against, OverSeeds.Of([.. pairs.Select(pair => pair.Mine.After?.Value - pair.Other.After?.Value).OfType<double>()]),
            OverSeeds.Of(late), late.Count(difference => difference > 0), late.Count(difference => difference < 0));
    }

    private static double? Late(CellResult cell) => cell.Curves.Reward.TakeLast(StudyGroup.LateSteps).Average();

    private static string Key(CellResult cell) => $"{cell.Seed} {string.Join(' ', cell.Levels)}";
}

/// <summary>Everything a report shows.</summary>
internal sealed record StudySummary
{
    /// <summary>The study's name.</summary>
    public required string Name { get; init; }

    /// <summary>Cells that are finished.</summary>
    public required int Finished { get; init; }

    /// <summary>Cells of the design.</summary>
    public required int Cells { get; init; }

    /// <summary>Names of the settings.</summary>
    public required IReadOnlyList<string> Settings { get; init; }

    /// <summary>The machines that cells ran on, with engines and program.</summary>
    public required IReadOnlyList<string> Machines { get; init; }

    /// <summary>Seconds of all cells together.</summary>
    public required double Seconds { get; init; }

    /// <summary>In the design's order; a group without a finished cell is left out.</summary>
    public required IReadOnlyList<StudyGroup> Groups { get; init; }

    /// <summary>Every line against the first one.</summary>
    public required IReadOnlyList<PairedLines> Pairs { get; init; }

    /// <summary>The summary of what is finished.</summary>
    /// <param name="design">The study.</param>
    /// <param name="cells">Number of its cells.</param>
    /// <param name="finished">Results, in the design's order.</param>
    public static StudySummary Of(StudyDesign design, int cells, IReadOnlyList<CellResult> finished)
    {
        var groups =
            from levels in design.Combinations()
            let names = levels.Select(level => level.Name).ToArray()
            from line in design.Compare
            let seeds = finished.Where(cell => cell.Line == line.Name && cell.Levels.SequenceEqual(names, StringComparer.Ordinal)).ToArray()
            where seeds.Length > 0
            select StudyGroup.Of(seeds);
        return new StudySummary
        {
            Name = design.Name,
            Finished = finished.Count,
            Cells = cells,
            Settings = [.. design.Settings.Select(setting => setting.Name)],
            Machines = [.. finished.Select(cell => cell.Machine).Distinct(StringComparer.Ordinal)],
            Seconds = CellCurves.Round(finished.Sum(cell => cell.Seconds)),
            Groups = [.. groups],
            Pairs = [.. design.Compare.Skip(1).Select(line => PairedLines.Of(line.Name, design.Compare[0].Name, finished)).OfType<PairedLines>()],
        };
    }
}
