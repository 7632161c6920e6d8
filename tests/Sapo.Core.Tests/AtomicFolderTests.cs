namespace Sapo.Core.Tests;

public sealed class AtomicFolderTests : IDisposable
{
    private readonly string _parent = Directory.CreateTempSubdirectory("sapo-folder-").FullName;

    public void Dispose() => Directory.Delete(_parent, recursive: true);

    [Fact]
    public void Begin_AfterAnAbandonedAttempt_IsEmpty()
    {
        var folder = Path.Combine(_parent, "step");
        File.WriteAllText(Path.Combine(AtomicFolder.Begin(folder), "half"), "written");

        var partial = AtomicFolder.Begin(folder);

        Assert.Empty(Directory.EnumerateFileSystemEntries(partial));
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void Finish_OverAnEarlierFolder_LeavesExactlyTheNewContent()
    {
        var folder = Path.Combine(_parent, "step");
        File.WriteAllText(Path.Combine(AtomicFolder.Begin(folder), "old"), "1");
        AtomicFolder.Finish(folder);
        var partial = AtomicFolder.Begin(folder);
        Directory.CreateDirectory(Path.Combine(partial, "inner"));
        File.WriteAllText(Path.Combine(partial, "inner", "new"), "2");

        AtomicFolder.Finish(folder);

        Assert.Equal(["inner/new"], Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(folder, file)));
        Assert.Equal([folder], Directory.EnumerateFileSystemEntries(_parent));
    }

    [Fact]
    public void Finish_WithoutBegin_ThrowsAndKeepsTheEarlierFolder()
    {
        var folder = Path.Combine(_parent, "step");
        File.WriteAllText(Path.Combine(AtomicFolder.Begin(folder), "kept"), "1");
        AtomicFolder.Finish(folder);

        Assert.Throws<DirectoryNotFoundException>(() => AtomicFolder.Finish(folder));

        Assert.True(File.Exists(Path.Combine(folder, "kept")));
    }
}
