using System.Text;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class RunFolderTests
{
    private static readonly RunOptions Options = RunOptionsReader.Parse(
        Encoding.UTF8.GetBytes("""{ "name": "x", "model": { "create": {} }, "task": { "kind": "addition" }, "steps": 3 }"""), "x.json");

    [Fact]
    public void Open_NewThenSameRunThenFinished_TellsTheStates()
    {
        using var folder = new TemporaryFolder();
        var path = folder.At("run");
        using (var first = RunFolder.Open(path, Options, fresh: false)) Assert.Equal(RunFolderState.Empty, first.State);
        Assert.Equal(RunOptionsReader.Resolved(Options), File.ReadAllText(Path.Combine(path, "run.json")));
        using (var second = RunFolder.Open(path, Options, fresh: false))
        {
            Assert.Equal(RunFolderState.Unfinished, second.State);
            File.WriteAllText(second.Report, "");
        }
        using var third = RunFolder.Open(path, Options, fresh: false);
        Assert.Equal(RunFolderState.Finished, third.State);
    }

    [Fact]
    public void Open_OtherOptions_NamesTheDifferenceAndTheRemedies()
    {
        using var folder = new TemporaryFolder();
        RunFolder.Open(folder.Path, Options, fresh: false).Dispose();
        var error = Assert.Throws<UserErrorException>(() => RunFolder.Open(folder.Path, Options with { Seed = 2 }, fresh: false));
        Assert.Contains("seed is 2, there 1", error.Message, StringComparison.Ordinal);
        Assert.Contains("--fresh", error.Message, StringComparison.Ordinal);
        Assert.Contains("--out", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_Fresh_RemovesTheEarlierRunOnly()
    {
        using var folder = new TemporaryFolder();
        RunFolder.Open(folder.Path, Options, fresh: false).Dispose();
        folder.File("checkpoints/step-000001/state.json");
        folder.File("report.html");
        folder.File("my-notes.txt", "keep me");
        using var opened = RunFolder.Open(folder.Path, Options with { Seed = 2 }, fresh: true);
        Assert.Equal(RunFolderState.Empty, opened.State);
        Assert.False(Directory.Exists(opened.Checkpoints));
        Assert.True(File.Exists(folder.At("my-notes.txt")));
    }

    [Fact]
    public void Open_WhileAnotherRunHasIt_IsRefused()
    {
        using var folder = new TemporaryFolder();
        using var first = RunFolder.Open(folder.Path, Options, fresh: false);
        var error = Assert.Throws<UserErrorException>(() => RunFolder.Open(folder.Path, Options, fresh: false));
        Assert.Contains("in use by another run", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_FolderOfSomethingElse_IsRefusedAndLeftAlone()
    {
        using var folder = new TemporaryFolder();
        folder.File("thesis.tex");
        Assert.Throws<UserErrorException>(() => RunFolder.Open(folder.Path, Options, fresh: false));
        Assert.Throws<UserErrorException>(() => RunFolder.Open(folder.Path, Options, fresh: true));
        Assert.False(File.Exists(folder.At("run.json")));
        Assert.True(File.Exists(folder.At("thesis.tex")));
    }
}
