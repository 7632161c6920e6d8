using Sapo.Core;
using Sapo.Hybrid.Generation;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Generation;

public sealed class GenerationOutputTests
{
    [Fact]
    public void Open_AfterAKill_CutsTheHalfLineAndKnowsWhatIsMissing()
    {
        using var folder = new TemporaryFolder();
        var path = folder.At("out.jsonl");
        using (var output = GenerationOutput.Open(path, Stamp(seed: 1)))
        {
            Assert.Equal([(0, 4)], output.Missing(2, 4));
            output.Write([Line(2, 0), Line(2, 2)]);
        }
        File.AppendAllText(path, "{\"line\":2,\"samp");
        using (var output = GenerationOutput.Open(path, Stamp(seed: 1)))
        {
            Assert.Equal(2, output.AlreadyDone);
            Assert.Equal([(1, 1), (3, 1)], output.Missing(2, 4));
            output.Write([Line(2, 1)]);
        }
        Assert.Equal(3, File.ReadAllLines(path).Length);
    }

    [Fact]
    public void Open_BegunWithOtherOptions_IsRefusedAndLeftAlone()
    {
        using var folder = new TemporaryFolder();
        var path = folder.At("out.jsonl");
        using (var output = GenerationOutput.Open(path, Stamp(seed: 1))) output.Write([Line(1, 0)]);
        var before = File.ReadAllText(path);
        Assert.Throws<UserErrorException>(() => GenerationOutput.Open(path, Stamp(seed: 2)));
        Assert.Equal(before, File.ReadAllText(path), StringComparer.Ordinal);
    }

    [Fact]
    public void Write_DiskIsFull_FailsAndClosesWithoutAnother()
    {
        using var folder = new TemporaryFolder();
        var path = folder.At("out.jsonl");
        GenerationOutput.Open(path, Stamp(seed: 1)).Dispose();
        File.Delete(path);
        File.CreateSymbolicLink(path, "/dev/full"); // takes nothing, as a full disk
        using var output = GenerationOutput.Open(path, Stamp(seed: 1));
        Assert.True(DiskFull.Is(Assert.Throws<IOException>(() => output.Write([Line(1, 0)]))));
    }

    [Fact]
    public void Open_FileOfSomethingElse_IsRefused()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("thesis.tex", "\\begin{document}\n");
        Assert.Throws<UserErrorException>(() => GenerationOutput.Open(path, Stamp(seed: 1)));
        Assert.Equal("\\begin{document}\n", File.ReadAllText(path), StringComparer.Ordinal);
    }

    private static GeneratedLine Line(int line, int sample) => new() { Line = line, Sample = sample, Text = "a\nb", FinishReason = "Stop", TokenIds = [1, 2] };

    private static GenerationStamp Stamp(long seed) => new()
    {
        Model = "m", Weights = "w", Prompts = "p", Samples = 4, LogProbs = false, Chat = false, Sampling = new SamplingOptions { Seed = seed }, Session = "ort", Precision = "fp32",
    };
}
