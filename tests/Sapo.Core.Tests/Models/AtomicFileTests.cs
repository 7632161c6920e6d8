namespace Sapo.Core.Tests.Models;

public sealed class AtomicFileTests : IDisposable
{
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-atomic-");

    private string Target => Path.Combine(_scratch.FullName, "file.json");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    public void WriteAllBytes_ExistingFile_IsReplacedAndNothingElseIsLeft()
    {
        AtomicFile.WriteAllBytes(Target, "old and long"u8.ToArray());
        AtomicFile.WriteAllBytes(Target, "new"u8.ToArray());
        Assert.Equal("new", File.ReadAllText(Target));
        Assert.Equal([Target], Directory.GetFiles(_scratch.FullName));
    }

    [Fact]
    public void Write_FailureInTheMiddle_KeepsTheOldFile()
    {
        AtomicFile.WriteAllBytes(Target, "old"u8.ToArray());
        Assert.Throws<IOException>(() => AtomicFile.Write<int>(Target, stream =>
        {
            stream.WriteByte(1);
            throw new IOException("No space left on device");
        }));
        Assert.Equal("old", File.ReadAllText(Target));
        Assert.Equal([Target], Directory.GetFiles(_scratch.FullName));
    }

    [Fact]
    public void Write_LeftoverOfAKilledProcess_IsOverwritten()
    {
        File.WriteAllText(Target + ".partial", "a much longer leftover than the new content");
        Assert.Equal(3, AtomicFile.Write(Target, stream =>
        {
            stream.Write("new"u8);
            return 3;
        }));
        Assert.Equal("new", File.ReadAllText(Target));
    }

    [Fact]
    public void Write_WhileWriting_TheOldFileIsReadable()
    {
        AtomicFile.WriteAllBytes(Target, "old"u8.ToArray());
        AtomicFile.Write(Target, stream =>
        {
            stream.Write("half"u8);
            stream.Flush();
            Assert.Equal("old", File.ReadAllText(Target));
            return 0;
        });
        Assert.Equal("half", File.ReadAllText(Target));
    }
}
