// A study end to end on a model of a few hundred weights: two workers share its cells.
using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Tests.Studies;

public sealed class StudyTests
{
    [Fact]
    public async Task RunAsync_TwoWorkers_EachCellIsDoneOnceAndTheSameAsAlone()
    {
        using var shared = Folder(seeds: "[1]");
        var says = new List<string>();
        void Say(string line)
        {
            lock (says) says.Add(line);
        }
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Study.RunAsync(shared.Path, reportOnly: false, Say, TimeProvider.System, default)));
        Assert.All(outcomes, outcome => Assert.Equal((4, 4), (outcome.Finished, outcome.Cells)));
        var lines = File.ReadAllLines(shared.At("cells.jsonl"));
        Assert.Equal(4, lines.Length);
        Assert.Single(says, line => line.StartsWith("cold start", StringComparison.Ordinal)); // made once, for all of them

        says.Clear();
        using var alone = Folder(seeds: "[1]");
        await File.WriteAllLinesAsync(alone.At("cells.jsonl"), lines.Where(line => !line.Contains("_1_GRPO", StringComparison.Ordinal)));
        await Study.RunAsync(alone.Path, reportOnly: false, Say, TimeProvider.System, default);
        Assert.StartsWith("4/4 seed1_1_GRPO", Assert.Single(says, line => line.Contains("_SAPO:", StringComparison.Ordinal) || line.Contains("_GRPO:", StringComparison.Ordinal)), StringComparison.Ordinal); // the finished ones were skipped
        var cells = StudyFiles.Parsed(Text("[1]")).Cells("study.json");
        var (first, second) = (new StudyFolder(shared.Path).Finished(cells)["seed1_1_GRPO"], new StudyFolder(alone.Path).Finished(cells)["seed1_1_GRPO"]);
        Assert.Equal(first.Curves.Reward, second.Curves.Reward);
        Assert.Equal(first.Curves.GradientNorm, second.Curves.GradientNorm);
        Assert.Equal(first.After, second.After);
        Assert.Equal((1, 2.0 / 3), (first.MaxStaleness, Math.Round(first.MeanStaleness * 3) / 3)); // steps of ages 0, 1, 1
    }

    private static TemporaryFolder Folder(string seeds)
    {
        var folder = new TemporaryFolder();
        folder.File("study.json", Text(seeds));
        return folder;
    }

    private static string Text(string seeds) => StudyFiles.Design.Replace("[1, 2]", seeds, StringComparison.Ordinal);
}
