// A chart as inline SVG: plain elements and CSS classes, so that one file without scripts follows the reader's light or
// dark theme. Every point carries its values as a tooltip.
using System.Net;
using System.Text;

namespace Sapo.Hybrid.Reports;

/// <summary>One line of a chart.</summary>
/// <param name="Name">Shown in the legend.</param>
/// <param name="Points">In order of x; a y that is not finite leaves a gap.</param>
/// <param name="Colour">Index into the page's palette, from 1.</param>
/// <param name="Dashed">Drawn with dashes.</param>
internal sealed record Series(string Name, IReadOnlyList<(double X, double Y)> Points, int Colour, bool Dashed = false)
{
    /// <summary>Drawn with dots.</summary>
    public bool Dotted { get; init; }

    /// <summary>The classes of its stroke.</summary>
    public string Stroke => $"s{Colour}{(Dashed ? " dashed" : "")}{(Dotted ? " dotted" : "")}";

    /// <summary>A shaded range around the line, in order of x; null draws none. It is cut where it is not finite.</summary>
    public IReadOnlyList<(double X, double Low, double High)>? Band { get; init; }
}

/// <summary>A single value with its interval, drawn as a dot with a bar.</summary>
internal sealed record Mark(string Name, double X, double Y, double Low, double High, int Colour);

/// <summary>A titled chart with named axes: lines, and marks or stacked areas beside them.</summary>
internal sealed record Chart(string Title, string YLabel, IReadOnlyList<Series> Lines)
{
    private const double Left = 58, Right = 14, Top = 14, Bottom = 40;

    /// <summary>Width of the drawing; letters keep their size, so a narrow chart is one for a small place.</summary>
    public double Width { get; init; } = 460;

    /// <summary>Height of the drawing.</summary>
    public double Height { get; init; } = 250;

    /// <summary>What the x axis counts.</summary>
    public string XLabel { get; init; } = "policy step";

    /// <summary>One sentence under the title.</summary>
    public string Note { get; init; } = "";

    /// <summary>Dots with intervals.</summary>
    public IReadOnlyList<Mark> Marks { get; init; } = [];

    /// <summary>The y axis is logarithmic.</summary>
    public bool Logarithmic { get; init; }

    /// <summary>The y axis begins at 0.</summary>
    public bool FromZero { get; init; }

    /// <summary>The y axis covers exactly this range.</summary>
    public (double Low, double High)? YRange { get; init; }

    /// <summary>Names of the places 0, 1, 2 ... of an x axis without numbers; null for a numeric axis.</summary>
    public IReadOnlyList<string>? XNames { get; init; }

    /// <summary>Every point tells its values to a pointer; else only the lines tell their names, which keeps large pages small.</summary>
    public bool PointTooltips { get; init; } = true;

    /// <summary>The names of lines and marks stand below; false where another chart on the page has them.</summary>
    public bool HasLegend { get; init; } = true;

    /// <summary>The lines are areas on top of each other.</summary>
    public bool Stacked { get; init; }

    /// <summary>The chart as a figure element.</summary>
    public string ToHtml()
    {
        var note = Note.Length > 0 ? $"<span>{Text(Note)}</span>" : "";
        var html = new StringBuilder($"""
            <figure class="chart"><figcaption><b>{Text(Title)}</b>{note}</figcaption>
            {ToSvg($"""role="img" aria-label="{Text(Title)}" """)}
            """);
        Legend(html);
        return html.Append("</figure>\n").ToString();
    }

    /// <summary>The drawing alone, without title and legend.</summary>
    /// <param name="attributes">Of the svg element, beside its view box.</param>
    public string ToSvg(string attributes)
    {
        var stacks = Stacked ? Stack() : [.. Lines.Select(line => line.Points)];
        var points = stacks.SelectMany(line => line).ToList();
        var x = XNames is { } names
            ? Axis.Linear([-0.5, names.Count - 0.5], 1, tight: true)
            : Axis.Linear(points.Select(point => point.X).Concat(Marks.Select(mark => mark.X)), 6, tight: true);
        var y = YAxis(points.Select(point => point.Y).Concat(Marks.SelectMany(mark => new[] { mark.Low, mark.High })).Concat(BandEdges()));
        var svg = new StringBuilder($"""<svg viewBox="0 0 {Width} {Height}" {attributes}>""");
        Grid(svg, x, y);
        if (Stacked) Areas(svg, stacks, x, y);
        else Paths(svg, x, y);
        foreach (var mark in Marks) Draw(svg, mark, x, y);
        return svg.Append("</svg>").ToString();
    }

    private IEnumerable<double> BandEdges() => Lines.SelectMany(line => line.Band ?? []).SelectMany(edge => new[] { edge.Low, edge.High });

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string N(double value) => value.ToString("0.##");

    private double PlaceX(Axis axis, double value) => Left + axis.Place(value) * (Width - Left - Right);

    private double PlaceY(Axis axis, double value) => Height - Bottom - axis.Place(value) * (Height - Top - Bottom);

    private string Place(Axis x, Axis y, (double X, double Y) point) => $"{N(PlaceX(x, point.X))} {N(PlaceY(y, point.Y))}";

    private Axis YAxis(IEnumerable<double> values)
    {
        if (Logarithmic) return Axis.Logarithmic(values);
        if (YRange is { } range) return Axis.Linear([range.Low, range.High], 5, tight: true);
        return Axis.Linear(values, 5, fromZero: FromZero || Stacked);
    }

    /// <summary>The lower edge 0 first, then the running sums of the lines.</summary>
    private List<IReadOnlyList<(double X, double Y)>> Stack()
    {
        var edges = new List<IReadOnlyList<(double X, double Y)>> { Lines[0].Points.Select(point => (point.X, 0.0)).ToArray() };
        foreach (var line in Lines) edges.Add(line.Points.Zip(edges[^1], (point, below) => (point.X, point.Y + below.Y)).ToArray());
        return edges;
    }

    private void Grid(StringBuilder svg, Axis x, Axis y)
    {
        foreach (var tick in y.Ticks)
        {
            var height = PlaceY(y, tick);
            svg.Append($"""<line class="grid" x1="{N(Left)}" x2="{N(Width - Right)}" y1="{N(height)}" y2="{N(height)}"/>""");
            svg.Append($"""<text class="tick end" x="{N(Left - 6)}" y="{N(height + 3.5)}">{y.Label(tick)}</text>""");
        }
        foreach (var (tick, label) in XNames?.Select((name, place) => ((double)place, Text(name))) ?? x.Ticks.Select(tick => (tick, x.Label(tick))))
            svg.Append($"""<text class="tick middle" x="{N(PlaceX(x, tick))}" y="{N(Height - Bottom + 15)}">{label}</text>""");
        var (middleX, middleY, bottom) = ((Left + Width - Right) / 2, (Top + Height - Bottom) / 2, Height - Bottom);
        svg.Append($"""
            <line class="axis" x1="{N(Left)}" x2="{N(Width - Right)}" y1="{N(bottom)}" y2="{N(bottom)}"/>
            <text class="label middle" x="{N(middleX)}" y="{N(Height - 8)}">{Text(XLabel)}</text>
            <text class="label middle" transform="translate(13 {N(middleY)}) rotate(-90)">{Text(YLabel)}</text>
            """);
    }

    private void Paths(StringBuilder svg, Axis x, Axis y)
    {
        foreach (var line in Lines.Where(line => line.Band is not null)) Band(svg, line, x, y);
        foreach (var line in Lines)
        {
            var path = new StringBuilder();
            var pen = "M";
            foreach (var point in line.Points)
            {
                if (double.IsFinite(point.Y)) path.Append($"{pen}{Place(x, y, point)}");
                pen = double.IsFinite(point.Y) ? "L" : "M";
            }
            svg.Append($"""<path class="line {line.Stroke}" d="{path}"><title>{Text(line.Name)}</title></path>""");
        }
        if (!PointTooltips) return;
        foreach (var line in Lines)
            foreach (var point in line.Points.Where(point => double.IsFinite(point.Y))) Tooltip(svg, x, y, point, line.Name, point.Y);
    }

    private void Band(StringBuilder svg, Series line, Axis x, Axis y)
    {
        var edges = line.Band!.Where(edge => double.IsFinite(edge.Low) && double.IsFinite(edge.High)).ToList();
        if (edges.Count == 0) return;
        var outline = edges.Select(edge => Place(x, y, (edge.X, edge.High))).Concat(edges.AsEnumerable().Reverse().Select(edge => Place(x, y, (edge.X, edge.Low))));
        svg.Append($"""<path class="band s{line.Colour}" d="M{string.Join('L', outline)}Z"/>""");
    }

    private void Areas(StringBuilder svg, List<IReadOnlyList<(double X, double Y)>> edges, Axis x, Axis y)
    {
        for (var i = 0; i < Lines.Count; i++)
        {
            var outline = edges[i + 1].Concat(edges[i].Reverse()).Select(point => Place(x, y, point));
            svg.Append($"""<path class="area s{Lines[i].Colour}" d="M{string.Join('L', outline)}Z"/>""");
        }
        for (var i = 0; i < Lines.Count; i++)
            foreach (var (edge, point) in edges[i + 1].Zip(Lines[i].Points)) Tooltip(svg, x, y, edge, Lines[i].Name, point.Y);
    }

    private void Tooltip(StringBuilder svg, Axis x, Axis y, (double X, double Y) point, string name, double value)
    {
        svg.Append($"""<circle class="hit" cx="{N(PlaceX(x, point.X))}" cy="{N(PlaceY(y, point.Y))}" r="5">""");
        svg.Append($"""<title>{Text(name)}, {Text(XLabel)} {point.X}: {value:G4}</title></circle>""");
    }

    private void Draw(StringBuilder svg, Mark mark, Axis x, Axis y)
    {
        var (px, py) = (N(PlaceX(x, mark.X)), N(PlaceY(y, mark.Y)));
        svg.Append($"""
            <g class="mark s{mark.Colour}"><line x1="{px}" x2="{px}" y1="{N(PlaceY(y, mark.Low))}" y2="{N(PlaceY(y, mark.High))}"/>
            <circle cx="{px}" cy="{py}" r="4.5"><title>{Text(mark.Name)}: {mark.Y:0.000} ({mark.Low:0.000} to {mark.High:0.000})</title></circle></g>
            """);
    }

    /// <summary>A line's entry in a legend.</summary>
    public static string Key(Series line) => $"""<span class="key {line.Stroke}">{Text(line.Name)}</span>""";

    private void Legend(StringBuilder html)
    {
        if (!HasLegend || Lines.Count + Marks.Count < 2) return;
        html.Append("<div class=\"legend\">");
        foreach (var line in Lines) html.Append(Key(line));
        foreach (var group in Marks.GroupBy(mark => mark.Name, StringComparer.Ordinal))
            html.Append($"""<span class="key dot s{group.First().Colour}">{Text(group.Key)}</span>""");
        html.Append("</div>");
    }
}
