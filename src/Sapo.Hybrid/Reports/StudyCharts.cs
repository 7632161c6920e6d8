using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Reports;

/// <summary>
/// The charts of a study. The last setting is the x axis of the overviews; every combination of the others is a panel. Lines
/// keep one colour throughout.
/// </summary>
internal sealed class StudyCharts(StudySummary summary)
{
    private const int Colours = 6;
    private const double PanelWidth = 300, PanelHeight = 210;

    private readonly IReadOnlyList<string> _lines = [.. summary.Groups.Select(group => group.Line).Distinct(StringComparer.Ordinal)];

    /// <summary>The lines' names and colours, which hold for all charts.</summary>
    public string Legend() => $"<div class=\"legend\">{string.Concat(_lines.Select(line => Chart.Key(new Series(line, [], Colour(line)))))}</div>";

    /// <summary>A number of every line against the last setting, a panel for each combination of the others.</summary>
    /// <param name="title">What the number is.</param>
    /// <param name="yLabel">Its unit.</param>
    /// <param name="value">The number, with an interval where it has one; null leaves a gap.</param>
    /// <param name="logarithmic">The y axis is logarithmic.</param>
    /// <param name="range">The y axis covers exactly this range; null takes that of the numbers, the same for all panels.</param>
    public IEnumerable<Chart> ByLastSetting(string title, string yLabel, Func<StudyGroup, OverSeeds?> value, bool logarithmic = false, (double Low, double High)? range = null)
    {
        if (summary.Settings.Count == 0) yield break;
        string[] levels = [.. summary.Groups.Select(group => group.Levels[^1]).Distinct(StringComparer.Ordinal)];
        foreach (var panel in summary.Groups.GroupBy(group => Described(group.Levels.SkipLast(1)), StringComparer.Ordinal))
        {
            var points = panel.Select(group => (group.Line, Place: (double)Array.IndexOf(levels, group.Levels[^1]), Value: value(group))).Where(point => point.Value is not null).ToList();
            yield return new Chart(title, yLabel, [.. _lines.Select(line => new Series(
                line, [.. points.Where(point => point.Line == line).Select(point => (Beside(line, point.Place), point.Value!.Mean))], Colour(line)))])
            {
                Note = panel.Key,
                XLabel = summary.Settings[^1],
                XNames = levels,
                Logarithmic = logarithmic,
                YRange = range,
                FromZero = !logarithmic && range is null,
                Marks =
                [
                    .. points.Select(point => new Mark(
                        point.Line, Beside(point.Line, point.Place), point.Value!.Mean, point.Value.Low ?? point.Value.Mean,
                        point.Value.High ?? point.Value.Mean, Colour(point.Line))),
                ],
                PointTooltips = false,
                HasLegend = false,
                Width = PanelWidth,
                Height = PanelHeight,
            };
        }
    }

    /// <summary>Reward by step, a panel for each combination: the mean over seeds and the range of the seeds.</summary>
    public IEnumerable<Chart> Rewards()
    {
        foreach (var panel in summary.Groups.GroupBy(group => Described(group.Levels), StringComparer.Ordinal))
            yield return new Chart(panel.Key.Length > 0 ? panel.Key : summary.Name, "mean reward", [.. panel.Select(group => new Series(
                group.Line, [.. group.Reward.Mean.Select((mean, step) => (step + 1.0, mean ?? double.NaN))], Colour(group.Line))
            {
                Band = [.. group.Reward.Low.Select((low, step) => (step + 1.0, low ?? double.NaN, group.Reward.High[step] ?? double.NaN))],
            })])
            {
                YRange = (0, Math.Max(1, panel.SelectMany(group => group.Reward.High).Max() ?? 1)),
                PointTooltips = false,
                HasLegend = false,
                Width = PanelWidth,
                Height = PanelHeight,
            };
    }

    /// <summary>Levels with the names of their settings.</summary>
    private string Described(IEnumerable<string> levels) => string.Join(", ", levels.Select((level, place) => $"{summary.Settings[place]} {level}"));

    private int Colour(string line) => Place(line) % Colours + 1;

    private int Place(string line) => _lines.TakeWhile(other => other != line).Count();

    /// <summary>Marks of one level lie side by side.</summary>
    private double Beside(string line, double place) => place + (Place(line) - (_lines.Count - 1) / 2.0) * Math.Min(0.12, 0.7 / _lines.Count);
}
