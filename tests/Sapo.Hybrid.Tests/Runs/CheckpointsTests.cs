using Sapo.Core;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class CheckpointsTests
{
    [Fact]
    public void Save_MoreThanKept_KeepsTheNewest()
    {
        using var folder = new TemporaryFolder();
        var checkpoints = new Checkpoints(folder.Path, keep: 2);
        Assert.Null(checkpoints.Newest());
        for (var step = 8; step <= 11; step++) checkpoints.Save(State(step), Learner($"weights {step}"));
        var newest = checkpoints.Newest()!.Value;
        Assert.Equal(State(11), newest.State);
        Assert.Equal("weights 11", File.ReadAllText(Path.Combine(newest.Folder, "learner")));
        Assert.Equal([new PolicyVersion(10), new PolicyVersion(11)], checkpoints.Versions().Order());
    }

    [Fact]
    public void Save_WithinAColdStart_ComesBeforeEveryStep()
    {
        using var folder = new TemporaryFolder();
        var checkpoints = new Checkpoints(folder.Path, keep: 2);
        foreach (var done in (int[])[900_000, 1_000_050]) checkpoints.Save(State(0) with { ColdStart = new ColdStartProgress(done, 5, 0.1, 1) }, Learner($"cold {done}"));
        var newest = checkpoints.Newest()!.Value;
        Assert.Equal(new ColdStartProgress(1_000_050, 5, 0.1, 1), newest.State.ColdStart);
        checkpoints.Save(State(0), Learner("weights 0"));
        Assert.Null(checkpoints.Newest()!.Value.State.ColdStart);
        checkpoints.Save(State(1), Learner("weights 1"));
        Assert.Empty(Directory.GetDirectories(folder.Path, "coldstart-*"));
    }

    [Fact]
    public void Save_LearnerFails_LeavesTheOlderCheckpointAndNothingElse()
    {
        using var folder = new TemporaryFolder();
        var checkpoints = new Checkpoints(folder.Path, keep: 2);
        checkpoints.Save(State(1), Learner("good"));
        Assert.Throws<IOException>(() => checkpoints.Save(State(2), _ => throw new IOException("full")));
        Assert.Equal(1, checkpoints.Newest()!.Value.State.Step);
        Assert.Single(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void Constructor_UnfinishedCheckpointOfAKilledProcess_IsRemoved()
    {
        using var folder = new TemporaryFolder();
        folder.File("step-000003.partial/learner");
        var checkpoints = new Checkpoints(folder.Path, keep: 1);
        Assert.Null(checkpoints.Newest());
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void Newest_BrokenState_SaysWhatToDo()
    {
        using var folder = new TemporaryFolder();
        folder.File("step-000003/state.json", "{");
        var error = Assert.Throws<UserErrorException>(() => new Checkpoints(folder.Path, keep: 1).Newest());
        Assert.Contains("Remove", error.Message, StringComparison.Ordinal);
    }

    private static CheckpointState State(long step) => new() { Step = step, Version = step, NextPrompt = step * 4, ElapsedSeconds = 1.5 };

    private static Action<string> Learner(string content) => folder => File.WriteAllText(Path.Combine(folder, "learner"), content);
}
