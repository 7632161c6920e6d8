// The gradient weights of objectives as one drawing: W and W / r against r for A > 0 and A < 0, all in four large panels, then
// each by itself. As a page it is HTML with inline drawings, as a picture one SVG; both are the same charts.
using System.Net;
using System.Text;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Reports;

/// <summary>Draws objectives' weights.</summary>
public static class WeightSheet
{
    private const int Colours = 6, Columns = 4;
    private const double SmallestRatio = 0.01, LargestRatio = 3, HighestWeight = 3, HighestGate = 1.6;
    private const double LargeWidth = 620, LargeHeight = 330, SmallWidth = 300, SmallHeight = 200, Gap = 14, TitleHeight = 40, LegendColumn = 155, LegendLine = 17;

    private static readonly string[] Explanation =
    [
        "Gradient of J = W A grad log pi, per token; r = probability now / probability at the anchor, which is 1/6 here. Completions of one token, every knob at its default.",
        "W / r is what papers draw: SAPO's gate, GRPO's clip. The small ones: W, A > 0 solid, A < 0 dashed.",
    ];

    /// <summary>A page.</summary>
    /// <param name="names">Objectives, all drawable.</param>
    public static string Html(IReadOnlyList<string> names)
    {
        var curves = Curves(names);
        var page = new StringBuilder($"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Gradient weights of the objectives - Sapo</title>
            <style>
            {ReportStyle.Read()}</style></head>
            <body><main>
            <h1>Gradient weights of the objectives</h1>
            <p class="sub">{Text(string.Join(' ', Explanation))}</p>
            <div class="grid2">

            """);
        foreach (var chart in Joint(curves)) page.Append(chart.ToHtml());
        page.Append("</div>\n<h2>W one by one</h2>\n<div class=\"grid4\">\n");
        foreach (var chart in Single(curves)) page.Append(chart.ToHtml());
        page.Append($"</div>\n{string.Concat(Missing().Select(line => $"<p class=\"sub\">{Text(line)}</p>"))}</main></body></html>\n");
        return page.ToString();
    }

    /// <summary>A picture.</summary>
    /// <param name="names">Objectives, all drawable.</param>
    public static string Svg(IReadOnlyList<string> names)
    {
        var curves = Curves(names);
        var (width, y) = (Columns * SmallWidth + (Columns - 1) * Gap, 78.0);
        var body = new StringBuilder();
        var joint = Joint(curves).ToList();
        for (var i = 0; i < joint.Count; i++) Place(body, joint[i], i % 2 * (width - LargeWidth), y + i / 2 * (LargeHeight + TitleHeight));
        y += joint.Count / 2 * (LargeHeight + TitleHeight);
        y += Legend(body, joint[0].Lines, width, y) + Gap;
        var single = Single(curves).ToList();
        for (var i = 0; i < single.Count; i++)
            Place(body, single[i], i % Columns * (SmallWidth + Gap), y + Math.Floor((double)i / Columns) * (SmallHeight + TitleHeight));
        y += Math.Ceiling((double)single.Count / Columns) * (SmallHeight + TitleHeight);
        foreach (var line in Missing()) body.Append($"""<text x="4" y="{y += LegendLine:0}">{Text(line)}</text>""");
        return $"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {width + 24:0} {y + 20:0}" font-family="system-ui, DejaVu Sans, sans-serif">
            <style>{ReportStyle.Read()} svg .head {Braced("font-size: 20px; fill: var(--ink); font-weight: 600;")} svg .name {Braced("font-size: 13px; fill: var(--ink); font-weight: 600;")}</style>
            <rect x="-12" y="0" width="{width + 24:0}" height="{y + 20:0}" style="fill: var(--page)"/>
            <text class="head" x="4" y="28">Gradient weights of the objectives</text><text x="4" y="48">{Text(Explanation[0])}</text><text x="4" y="64">{Text(Explanation[1])}</text>
            {body}
            </svg>

            """;
    }

    private static string Braced(string content) => "{ " + content + " }";

    private static IReadOnlyList<(string Name, WeightCurve Positive, WeightCurve Negative)> Curves(IReadOnlyList<string> names) =>
        [.. names.Select(name => (name, WeightCurves.Of(new ObjectiveOptions { Name = name }, SmallestRatio, LargestRatio))).Select(
            curve => (curve.name, curve.Item2[0], curve.Item2[1]))];

    private static IEnumerable<Chart> Joint(IReadOnlyList<(string Name, WeightCurve Positive, WeightCurve Negative)> curves)
    {
        foreach (var perRatio in (bool[])[true, false])
            foreach (var positive in (bool[])[true, false])
                yield return new Chart(
                    $"{(perRatio ? "W / r" : "W")} for A {(positive ? '>' : '<')} 0", perRatio ? "gate W / r" : "weight W",
                    [.. curves.Select((curve, i) => Line(curve.Name, positive ? curve.Positive : curve.Negative, i, perRatio))])
                {
                    XLabel = "ratio r", YRange = (0, perRatio ? HighestGate : HighestWeight), PointTooltips = false, Width = LargeWidth, Height = LargeHeight,
                };
    }

    private static IEnumerable<Chart> Single(IReadOnlyList<(string Name, WeightCurve Positive, WeightCurve Negative)> curves) =>
        curves.Select((curve, i) => new Chart(curve.Name, "weight W", [
            Line($"{curve.Name}, A > 0", curve.Positive, i % Colours, perRatio: false), Line($"{curve.Name}, A < 0", curve.Negative, i % Colours + Colours, perRatio: false),
        ])
        {
            XLabel = "ratio r", YRange = (0, HighestWeight), PointTooltips = false, HasLegend = false, Width = SmallWidth, Height = SmallHeight,
        });

    /// <summary>A line, cut where it leaves the picture; its number decides colour and stroke, so that 18 can be told apart.</summary>
    private static Series Line(string name, WeightCurve curve, int number, bool perRatio)
    {
        var highest = perRatio ? HighestGate : HighestWeight;
        var values = curve.Ratios.Zip(curve.Weights, (ratio, weight) => (ratio, perRatio ? weight / ratio : weight));
        return new Series(
            name, [.. values.Select(point => (point.ratio, point.Item2 > highest ? double.NaN : point.Item2))], number % Colours + 1, number / Colours % 3 == 1)
        {
            Dotted = number / Colours % 3 == 2,
        };
    }

    private static IEnumerable<string> Missing() =>
        WeightCurves.Undrawable.Select(entry => $"{entry.Key} is not drawn: {entry.Value}.");

    private static void Place(StringBuilder body, Chart chart, double x, double y)
    {
        body.Append($"""<text class="name" x="{x + 4:0.#}" y="{y + 18:0.#}">{Text(chart.Title)}</text>""");
        body.Append(chart.ToSvg($"""x="{x:0.#}" y="{y + 22:0.#}" width="{chart.Width:0}" height="{chart.Height:0}" """)).Append('\n');
    }

    /// <summary>Draws the names of the lines and says how high that is.</summary>
    private static double Legend(StringBuilder body, IReadOnlyList<Series> lines, double width, double y)
    {
        var perRow = (int)(width / LegendColumn);
        for (var i = 0; i < lines.Count; i++)
        {
            var (x, top) = (i % perRow * LegendColumn + 4, y + Math.Floor((double)i / perRow) * LegendLine);
            body.Append($"""<line class="line {lines[i].Stroke}" x1="{x:0}" x2="{x + 26:0}" y1="{top:0}" y2="{top:0}"/>""");
            body.Append($"""<text x="{x + 32:0}" y="{top + 4:0}">{Text(lines[i].Name)}</text>""");
        }
        return Math.Ceiling((double)lines.Count / perRow) * LegendLine;
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
