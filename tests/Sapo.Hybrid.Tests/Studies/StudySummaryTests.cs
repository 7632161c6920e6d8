using System.Xml.Linq;
using Sapo.Hybrid.Reports;
using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Tests.Studies;

public sealed class StudySummaryTests
{
    [Fact]
    public void Of_RewardsThatFallAndRecover_FallIsMeasuredOnFiveSteps()
    {
        // Means of five: 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2: best 0.6, largest fall 0.4; the end, 0.2, is below half of 0.6.
        var fallen = Stability.Of(StudyFiles.Result("SAPO", ["1"], 1, [0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1, 0.6]));
        Assert.True(fallen.Collapsed);
        Assert.Equal(0.4, fallen.LargestFall, 1e-12);
        var steady = Stability.Of(StudyFiles.Result("SAPO", ["1"], 1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]));
        Assert.Equal(new Stability(Collapsed: false, LargestFall: 0, Spikes: 0), steady);
    }

    [Fact]
    public void Of_RunThatDiverged_HasCollapsed() =>
        Assert.True(Stability.Of(StudyFiles.Result("SAPO", ["1"], 1, [0.5]) with { Failure = "the gradient was not finite", After = null }).Collapsed);

    [Fact]
    public void Of_GradientNormAboveFiveMedians_IsASpike()
    {
        var result = StudyFiles.Result("SAPO", ["1"], 1, [0, 0, 0, 0]);
        // The median step is 2 (of 1, 2, 3, a step without signal apart): above 10 is a spike.
        var curves = result.Curves with { GradientNorm = [1, 2, 3, 0], LargestGradientNorm = [10, 10.5, null, 40] };
        Assert.Equal(2, Stability.Of(result with { Curves = curves }).Spikes);
    }

    [Fact]
    public void OverSeeds_Values_HaveStudentsInterval()
    {
        // Deviations -0.1, 0, 0.1: s = 0.1, standard error 0.1 / sqrt(3); t(2 degrees of freedom, 97.5%) = 4.302653.
        var estimate = OverSeeds.Of([0.4, 0.5, 0.6])!;
        Assert.Equal(0.5, estimate.Mean);
        Assert.Equal(0.5 - 4.302653 * 0.1 / Math.Sqrt(3), estimate.Low!.Value, 1e-5);
        Assert.Equal(new OverSeeds(0.7, null, null, 2), OverSeeds.Of([0.6, 0.8]));
        Assert.Null(OverSeeds.Of([]));
        Assert.Equal(1, OverSeeds.Of([0.8, 0.9, 1.0], share: true)!.High);
    }

    [Fact]
    public void CurveOverSeeds_UnequalLengths_CountWhileTheyLast()
    {
        var curve = CurveOverSeeds.Of([[0.2, 0.4, null], [0.6]]);
        Assert.Equal([0.4, 0.4, null], curve.Mean);
        Assert.Equal([0.2, 0.4, null], curve.Low);
        Assert.Equal([0.6, 0.4, null], curve.High);
    }

    [Fact]
    public void PairedLines_OnlyCommonCells_AreCompared()
    {
        CellResult[] cells =
        [
            StudyFiles.Result("SAPO", ["0"], 1, [0.5, 0.5], after: 0.5), StudyFiles.Result("GRPO", ["0"], 1, [0.75, 0.75], after: 0.75),
            StudyFiles.Result("SAPO", ["1"], 1, [0.5, 0.5], after: 0.5), StudyFiles.Result("GRPO", ["1"], 1, [0.25, 0.5], after: 0.5),
            StudyFiles.Result("GRPO", ["1"], 2, [1, 1], after: 1),
        ];
        var pair = PairedLines.Of("GRPO", "SAPO", cells)!;
        Assert.Equal((2, 1, 1), (pair.LateReward!.Count, pair.Higher, pair.Lower));
        Assert.Equal(0.0625, pair.LateReward.Mean, 1e-12); // (0.25 - 0.125) / 2
        Assert.Equal(0.125, pair.After!.Mean, 1e-12);
        Assert.Null(PairedLines.Of("GSPO", "SAPO", cells));
    }

    [Fact]
    public void Of_PartOfAStudy_GroupsWhatIsThere()
    {
        var summary = Summary();
        Assert.Equal((5, 8), (summary.Finished, summary.Cells));
        Assert.Equal(["0 SAPO 2", "0 GRPO 1", "1 SAPO 1", "1 GRPO 1"], summary.Groups.Select(group => $"{group.Levels[0]} {group.Line} {group.Seeds.Count}"));
        Assert.Equal(0.5, summary.Groups[0].LateReward!.Mean);
        Assert.Equal((1.5, 2), (summary.Groups[0].Staleness, summary.Groups[0].MaxStaleness));
        Assert.Equal(["GRPO"], summary.Pairs.Select(pair => pair.Line));
    }

    [Fact]
    public void Html_Summary_HasWhatWasFoundAndFetchesNothing()
    {
        var page = StudyPage.Html(Summary(), "{ \"name\": \"<tiny>\" }");
        var document = XElement.Parse(page[page.IndexOf("<html", StringComparison.Ordinal)..].Replace("<meta charset=\"utf-8\">", "", StringComparison.Ordinal)
            .Replace("initial-scale=1\">", "initial-scale=1\"/>", StringComparison.Ordinal));
        Assert.Contains("5 of 8 runs are finished; 2 seed(s)", page, StringComparison.Ordinal);
        Assert.Contains("a machine", page, StringComparison.Ordinal);
        Assert.Contains("&lt;tiny&gt;", page, StringComparison.Ordinal);
        Assert.DoesNotContain("http", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        var rewards = document.Descendants("figure").Where(figure => figure.Descendants("path").Any(path => path.Attribute("class")!.Value.StartsWith("band", StringComparison.Ordinal))).ToList();
        Assert.Equal(["staleness 0", "staleness 1"], rewards.Select(figure => figure.Element("figcaption")!.Element("b")!.Value));
        Assert.Equal(4, document.Descendants("tr").Count(row => row.Elements("td").Count() == 14)); // a row per group
    }

    private static StudySummary Summary()
    {
        var design = StudyFiles.Parsed();
        var cells = design.Cells("study.json");
        return StudySummary.Of(design, cells.Count, [.. cells.Take(5).Select(cell => StudyFiles.Result(cell, [0.25, 0.5, 0.75]))]);
    }
}
