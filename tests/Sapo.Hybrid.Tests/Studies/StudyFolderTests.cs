using System.Diagnostics;
using Sapo.Core;
using Sapo.Hybrid.Studies;

namespace Sapo.Hybrid.Tests.Studies;

public sealed class StudyFolderTests
{
    [Fact]
    public void TryTake_TakenName_IsRefusedUntilItIsGivenBack()
    {
        using var folder = new TemporaryFolder();
        var (mine, others) = (new StudyClaims(folder.At("claims")), new StudyClaims(folder.At("claims")));
        using (var claim = mine.TryTake("cell"))
        {
            Assert.NotNull(claim);
            Assert.Null(mine.TryTake("cell"));
            Assert.Null(others.TryTake("cell"));
            using var other = others.TryTake("another");
            Assert.NotNull(other);
        }
        using var again = others.TryTake("cell");
        Assert.NotNull(again);
    }

    [Fact]
    public async Task TryTake_OwnerIsKilled_IsFreeAgain()
    {
        if (!OperatingSystem.IsLinux()) return; // flock(1) is what holds the claim here
        using var folder = new TemporaryFolder();
        var claims = new StudyClaims(folder.At("claims"));
        claims.TryTake("cell")!.Dispose(); // makes the file
        var start = new ProcessStartInfo("flock", [folder.At("claims", "cell.lock"), "sh", "-c", "echo held; exec sleep 300"]) { RedirectStandardOutput = true, UseShellExecute = false };
        using var owner = Process.Start(start)!;
        Assert.Equal("held", await owner.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Null(claims.TryTake("cell"));
        owner.Kill(entireProcessTree: true);
        await owner.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));
        using var taken = await Eventually(() => claims.TryTake("cell"));
        Assert.NotNull(taken);
    }

    [Fact]
    public void TryTake_FolderThatCannotBeMade_IsOneMessage() =>
        Assert.Contains("/proc/nowhere", Assert.Throws<UserErrorException>(() => new StudyClaims("/proc/nowhere").TryTake("cell")).Message, StringComparison.Ordinal);

    [Fact]
    public void Finished_AppendedCells_AreReadBack()
    {
        using var temporary = new TemporaryFolder();
        var folder = new StudyFolder(temporary.Path);
        var cells = StudyFiles.Parsed().Cells("study.json");
        Assert.Empty(folder.Finished(cells));
        foreach (var cell in cells.Take(3)) folder.Append(StudyFiles.Result(cell, [0.5, null, 1]));
        var finished = folder.Finished(cells);
        Assert.Equal(cells.Take(3).Select(cell => cell.Id).Order(StringComparer.Ordinal), finished.Keys.Order(StringComparer.Ordinal));
        Assert.Equal([0.5, null, 1], finished[cells[0].Id].Curves.Reward);
    }

    [Fact]
    public void Append_AfterAHalfWrittenLine_ReplacesIt()
    {
        using var temporary = new TemporaryFolder();
        var folder = new StudyFolder(temporary.Path);
        var cells = StudyFiles.Parsed().Cells("study.json");
        folder.Append(StudyFiles.Result(cells[0]));
        File.AppendAllText(folder.CellsFile, "{\"cell\":\"seed1_0_G"); // killed while it wrote
        Assert.Single(folder.Finished(cells));
        folder.Append(StudyFiles.Result(cells[1]));
        Assert.Equal(2, folder.Finished(cells).Count);
        Assert.Equal(2, File.ReadAllLines(folder.CellsFile).Length);
    }

    [Fact]
    public void Finished_CellOfAnotherDesign_IsRefused()
    {
        using var temporary = new TemporaryFolder();
        var folder = new StudyFolder(temporary.Path);
        folder.Append(StudyFiles.Result(StudyFiles.Parsed().Cells("study.json")[0]));
        var changed = StudyFiles.Parsed(StudyFiles.Design.Replace("\"steps\": 3,\n    \"exact", "\"steps\": 4,\n    \"exact", StringComparison.Ordinal)).Cells("study.json");
        var error = Assert.Throws<UserErrorException>(() => folder.Finished(changed));
        Assert.Contains("line 1: cell seed1_0_SAPO was run with other options", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Finished_LineThatIsNoCell_NamesIt()
    {
        using var temporary = new TemporaryFolder();
        var folder = new StudyFolder(temporary.Path);
        temporary.File("cells.jsonl", "{\"cell\": 3}\n");
        Assert.Contains("cells.jsonl, line 1: it is no cell", Assert.Throws<UserErrorException>(() => folder.Finished([])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.123456789, 0.12346)]
    [InlineData(-123456.7, -123460)]
    [InlineData(1e-310, 1e-310)]
    [InlineData(0, 0)]
    public void Round_Number_KeepsFiveDigits(double value, double expected) => Assert.Equal(expected, CellCurves.Round(value), Math.Abs(expected) * 1e-12);

    private static async Task<IDisposable?> Eventually(Func<IDisposable?> take)
    {
        for (var tries = 0; tries < 1000; tries++)
        {
            if (take() is { } taken) return taken;
            await Task.Delay(10);
        }
        return null;
    }
}
