using System.Xml.Linq;
using Sapo.Hybrid.Reports;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Tests.Reports;

public sealed class WeightSheetTests
{
    [Fact]
    public void Svg_AllObjectives_IsOnePictureWithAPanelForEach()
    {
        var picture = XElement.Parse(WeightSheet.Svg(WeightCurves.Drawable));
        XNamespace svg = "http://www.w3.org/2000/svg";
        Assert.Equal(4 + WeightCurves.Drawable.Count, picture.Elements(svg + "svg").Count()); // four joint panels
        Assert.Equal(6 * WeightCurves.Drawable.Count, picture.Descendants(svg + "path").Count()); // W and W / r jointly, W alone; both signs
        var names = picture.Elements(svg + "text").Select(text => text.Value).ToList();
        Assert.All(WeightCurves.Drawable, name => Assert.Contains(name, names));
        Assert.All(WeightCurves.Undrawable.Keys, name => Assert.Contains(names, line => line.StartsWith(name + " is not drawn", StringComparison.Ordinal)));
    }

    [Fact]
    public void Html_ChosenObjectives_AreDrawnAndNothingIsFetched()
    {
        var page = WeightSheet.Html(["sapo", "grpo"]);
        Assert.Equal(6, page.Split("<figure").Length - 1);
        Assert.DoesNotContain("cispo<", page, StringComparison.Ordinal);
        Assert.DoesNotContain("http", page, StringComparison.Ordinal);
    }
}
