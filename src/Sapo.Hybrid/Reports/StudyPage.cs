// StudySummary -> report.html of a study: one file without scripts and without network.
using System.Net;
using System.Text;
using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Reports;

/// <summary>Writes the page.</summary>
internal static class StudyPage
{
    /// <summary>The page.</summary>
    /// <param name="summary">The numbers.</param>
    /// <param name="design">The study's file, as it is.</param>
    public static string Html(StudySummary summary, string design)
    {
        var charts = new StudyCharts(summary);
        var page = new StringBuilder($"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{Text(summary.Name)} - Sapo study</title>
            <style>
            {ReportStyle.Read()}</style></head>
            <body><main>
            <h1>{Text(summary.Name)}</h1>
            <p class="sub">{Text(Scope(summary))}</p>

            """);
        Lines(page, summary);
        Pairs(page, summary);
        var last = summary.Settings.Count > 0 ? summary.Settings[^1] : "";
        Section(page, charts, $"Against {last}", "Dots: mean over seeds; bars: Student's 95% interval over seeds, where there are three or more. Reward is that of the policies that sampled, staleness steps ago; pass@1 that of the last policy.",
        [
            .. charts.ByLastSetting("pass@1 held out", "share right", group => group.After, range: (0, 1)),
            .. charts.ByLastSetting("Late reward", "mean reward", group => group.LateReward, range: (0, 1)),
            .. charts.ByLastSetting("Largest fall of the reward", "below the best so far", group => Plain(group.LargestFall, group)),
            .. charts.ByLastSetting("Mean weight W", "weight on the gradient", group => Plain(group.Weight, group)),
            .. charts.ByLastSetting("Variance of the log-ratio", "nats squared", group => Plain(group.LogRatioVariance, group), logarithmic: true),
            .. charts.ByLastSetting("Late entropy", "nats per token", group => Plain(group.LateEntropy, group)),
        ]);
        Section(page, charts, "Training reward", "Lines: mean over seeds; bands: lowest to highest seed.", charts.Rewards());
        Groups(page, summary);
        page.Append($"""
            <h2>How it was made</h2>
            <div class="card"><table>{string.Concat(summary.Machines.Select(machine => $"<tr><td>{Text(machine)}</td></tr>"))}</table></div>
            <details><summary>study.json</summary>
            <pre>{Text(design)}</pre></details>
            </main></body></html>

            """);
        return page.ToString();
    }

    private static string Scope(StudySummary summary)
    {
        var seeds = summary.Groups.SelectMany(group => group.Seeds).Distinct().Count();
        var whole = summary.Finished == summary.Cells ? "all" : $"{summary.Finished:N0} of";
        return $"{whole} {summary.Cells:N0} runs are finished; {seeds} seed(s); {summary.Seconds / 3600:0.0} hours of run time";
    }

    private static void Lines(StringBuilder page, StudySummary summary)
    {
        page.Append("""
            <h2>At a glance</h2>
            <div class="card"><table class="dense">
            <tr><th>over all settings and seeds</th><th class="number">runs</th><th class="number">pass@1 after</th><th class="number">late reward</th>
            <th class="number">collapsed</th><th class="number">largest fall</th><th class="number">spikes per run</th><th class="number">late entropy</th>
            <th class="number">mean W</th><th class="number">W &lt; 0.5</th><th class="number">Var_i</th></tr>

            """);
        foreach (var line in summary.Groups.GroupBy(group => group.Line, StringComparer.Ordinal))
        {
            double runs = line.Sum(group => group.Seeds.Count);
            Row(page, line.Key, [
                $"{runs:0}", Percent(Weighted(line, group => group.After?.Mean)), Number(Weighted(line, group => group.LateReward?.Mean)),
                $"{line.Sum(group => group.Collapses)}", Number(Weighted(line, group => group.LargestFall)), Number(Weighted(line, group => group.Spikes)),
                Number(Weighted(line, group => group.LateEntropy)), Number(Weighted(line, group => group.Weight)),
                Percent(Weighted(line, group => group.BelowHalf)), Number(Weighted(line, group => group.LogRatioVariance)),
            ]);
        }
        page.Append($"""
            </table></div>
            <p class="sub">Collapsed: the run ended before its last step, or its reward (mean of {Stability.Window} steps) ended below {Percent(Stability.CollapsedShare)} of its best {Stability.Window} steps.
            Largest fall: how far such a mean lay below the best before it. Spikes: steps with a gradient norm above {Stability.SpikeFactor} times the run's median.
            Late: the last {StudyGroup.LateSteps} steps. W: the objective's weight on a token's gradient. Var_i: variance of the log-ratio within a completion.</p>

            """);
    }

    private static void Pairs(StringBuilder page, StudySummary summary)
    {
        if (summary.Pairs.Count == 0) return;
        page.Append("""
            <div class="card"><table>
            <tr><th>same setting and seed</th><th class="number">pairs</th><th class="number">difference of pass@1 (95%)</th>
            <th class="number">difference of late reward (95%)</th><th class="number">late reward higher</th><th class="number">lower</th></tr>

            """);
        foreach (var pair in summary.Pairs)
            Row(page, $"{pair.Line} - {pair.Against}", [
                $"{pair.LateReward?.Count ?? 0}", Estimate(pair.After, signed: true), Estimate(pair.LateReward, signed: true), $"{pair.Higher}", $"{pair.Lower}",
            ]);
        page.Append("""
            </table></div>
            <p class="sub">Intervals over pairs, as if pairs were independent; those of one seed begin with the same model.</p>

            """);
    }

    private static void Groups(StringBuilder page, StudySummary summary)
    {
        page.Append($"""
            <h2>Every setting</h2>
            <div class="card"><table class="dense">
            <tr>{string.Concat(summary.Settings.Select(setting => $"<th>{Text(setting)}</th>"))}<th></th><th class="number">seeds</th>
            <th class="number">pass@1 before</th><th class="number">pass@1 after (95%)</th><th class="number">late reward (95%)</th><th class="number">collapsed</th>
            <th class="number">largest fall</th><th class="number">spikes</th><th class="number">late entropy</th><th class="number">mean W</th>
            <th class="number">W &lt; 0.5</th><th class="number">Var_i</th><th class="number">staleness: mean, most</th></tr>

            """);
        foreach (var group in summary.Groups)
        {
            page.Append("<tr>").Append(string.Concat(group.Levels.Select(level => $"<td>{Text(level)}</td>"))).Append($"<td>{Text(group.Line)}</td>");
            string[] values =
            [
                $"{group.Seeds.Count}", Percent(group.Before?.Mean), Estimate(group.After), Estimate(group.LateReward), $"{group.Collapses}",
                Number(group.LargestFall), Number(group.Spikes), Number(group.LateEntropy), Number(group.Weight), Percent(group.BelowHalf),
                Number(group.LogRatioVariance), $"{group.Staleness:0.0}, {group.MaxStaleness}",
            ];
            page.Append(string.Concat(values.Select(value => $"<td class=\"number\">{Text(value)}</td>"))).Append("</tr>\n");
        }
        page.Append("</table></div>\n");
    }

    private static void Section(StringBuilder page, StudyCharts charts, string title, string note, IEnumerable<Chart> panels)
    {
        page.Append($"<h2>{Text(title)}</h2>\n<p class=\"sub\">{Text(note)}</p>\n{charts.Legend()}\n<div class=\"grid4\">\n");
        foreach (var chart in panels) page.Append(chart.ToHtml());
        page.Append("</div>\n");
    }

    private static void Row(StringBuilder page, string name, IEnumerable<string> values) =>
        page.Append($"<tr><td>{Text(name)}</td>{string.Concat(values.Select(value => $"<td class=\"number\">{Text(value)}</td>"))}</tr>\n");

    /// <summary>Mean over runs: groups count by their seeds.</summary>
    private static double? Weighted(IEnumerable<StudyGroup> groups, Func<StudyGroup, double?> value)
    {
        var known = groups.Select(group => (Value: value(group), Runs: group.Seeds.Count)).Where(group => group.Value is not null).ToList();
        return known.Count == 0 ? null : known.Sum(group => group.Value * group.Runs) / known.Sum(group => group.Runs);
    }

    private static OverSeeds? Plain(double? value, StudyGroup group) => value is { } mean ? new OverSeeds(mean, null, null, group.Seeds.Count) : null;

    private static string Estimate(OverSeeds? estimate, bool signed = false)
    {
        if (estimate is null) return "none";
        var format = signed ? "+0.000;-0.000;0.000" : "0.000";
        return estimate.Mean.ToString(format) + (estimate.Low is { } low ? $" ({low.ToString(format)} to {estimate.High!.Value.ToString(format)})" : "");
    }

    private static string Number(double? value) => value is { } number ? number.ToString(Math.Abs(number) is > 0 and < 0.001 ? "0.0e0" : "0.000") : "none";

    private static string Percent(double? share) => share is { } value ? $"{100 * value:0.0}%" : "none";

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
