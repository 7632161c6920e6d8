using System.Xml.Linq;
using Sapo.Hybrid.Reports;

namespace Sapo.Hybrid.Tests.Reports;

public sealed class ChartTests
{
    [Fact]
    public void Linear_OddRange_TicksAreRoundAndCoverIt()
    {
        var axis = Axis.Linear([0.13, 0.91], 5);
        Assert.Equal([0, 0.2, 0.4, 0.6, 0.8, 1], axis.Ticks.Select(tick => Math.Round(tick, 9)));
        Assert.Equal(0.5, axis.Place(0.5), 1e-12);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(5.0)]
    [InlineData(-3.0)]
    public void Linear_OneValue_StillHasARange(double value) => Assert.InRange(Axis.Linear([value], 5).Place(value), 0.01, 0.99);

    [Fact]
    public void Logarithmic_ManyPowersAndZero_PlacesPowersEvenly()
    {
        var axis = Axis.Logarithmic([0, 1e-6, 1e-2]);
        Assert.Equal(0, axis.Place(0));
        Assert.Equal(0.5, axis.Place(1e-4), 1e-9);
        Assert.Equal("1e-4", axis.Label(1e-4));
    }

    [Fact]
    public void ToHtml_NamesWithMarkup_AreEscapedAndWellFormed()
    {
        var chart = new Chart("A < B & C", "<nats>", [new Series("x & y", [(1, 0.5), (2, double.NaN), (3, 0.25)], 1), new Series("z", [(1, 1)], 2)])
        {
            Marks = [new Mark("pass@1", 1, 0.5, 0.4, 0.6, 2)],
        };
        var figure = XElement.Parse(chart.ToHtml());
        Assert.Equal("A < B & C", figure.Element("figcaption")!.Element("b")!.Value);
        Assert.Contains(figure.Descendants("path"), path => path.Attribute("d")!.Value.Count(letter => letter == 'M') == 2); // NaN leaves a gap
    }

    [Fact]
    public void ToHtml_Stacked_AreasLieOnTopOfEachOther()
    {
        var chart = new Chart("t", "s", [new Series("a", [(1, 1), (2, 1)], 1), new Series("b", [(1, 2), (2, 2)], 2)]) { Stacked = true };
        var areas = XElement.Parse(chart.ToHtml()).Descendants("path").Select(path => path.Attribute("d")!.Value).ToList();
        var topOfA = areas[0].Split('L')[0];
        Assert.Contains(topOfA[1..], areas[1], StringComparison.Ordinal); // b begins where a ends
    }
}
