using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class DiskFullTests
{
    [Fact]
    public void Is_WriteToAFullDevice_IsRecognisedAndOtherFailuresAreNot()
    {
        if (!File.Exists("/dev/full")) return; // Linux: every write there fails for lack of space
        var failure = Assert.ThrowsAny<IOException>(() =>
        {
            using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            full.Write("x"u8);
        });
        Assert.True(DiskFull.Is(failure));
        Assert.False(DiskFull.Is(new FileNotFoundException()));
        Assert.False(DiskFull.Is(new IOException("something else")));
    }
}
