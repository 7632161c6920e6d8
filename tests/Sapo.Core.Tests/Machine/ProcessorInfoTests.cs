using Sapo.Core.Machine;

namespace Sapo.Core.Tests.Machine;

public sealed class ProcessorInfoTests
{
    [Theory]
    [InlineData("fpu sse2 avx2 fma avx512f avx512dq avx512bw avx512vl", "SkylakeX", "AVX-512")]
    [InlineData("fpu sse2 avx2 fma avx512f", "Haswell", "AVX2")] // Knights Landing: avx512f alone is not enough
    [InlineData("fpu sse2 avx2 fma", "Haswell", "AVX2")]
    [InlineData("fpu sse2 avx2", null, "baseline")]
    [InlineData("fpu sse2", null, "baseline")]
    public void OpenBlasKernel_ByInstructionSets_IsTheFastestThatRuns(string flags, string? kernel, string instructions)
    {
        var processor = ProcessorInfo.Parse($"processor\t: 0\nmodel name\t: Some CPU @ 2.0: GHz\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: other\n");
        Assert.Equal("Some CPU @ 2.0: GHz", processor.Model);
        Assert.Equal(kernel, processor.OpenBlasKernel);
        Assert.Equal(instructions, processor.VectorInstructions);
    }

    [Fact]
    public void Parse_ArmProcessor_KnowsItsVectorInstructions()
    {
        var processor = ProcessorInfo.Parse("processor\t: 0\nFeatures\t: fp asimd evtstrm\n");
        Assert.Null(processor.OpenBlasKernel);
        Assert.Equal("NEON", processor.VectorInstructions);
    }

    [Fact]
    public void Parse_Empty_LeavesTheChoiceToOpenBlas()
    {
        var processor = ProcessorInfo.Parse("");
        Assert.StartsWith("unknown", processor.Model, StringComparison.Ordinal);
        Assert.Null(processor.OpenBlasKernel);
    }
}
