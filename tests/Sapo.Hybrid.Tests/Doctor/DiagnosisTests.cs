using Sapo.Core.Machine;
using Sapo.Hybrid.Doctor;

namespace Sapo.Hybrid.Tests.Doctor;

public sealed class DiagnosisTests
{
    private static readonly GpuInfo SomeGpu = new("H100", 80L << 30, "570");
    private static readonly MachineReport GoodMachine = new(
        "Some CPU", "AVX2", 4, new MemoryState(16L << 30, 8L << 30), "/runs", 100L << 30, [], "Linux", ".NET 10");

    private static readonly EngineReport GoodEngines = new(
        "local", new EngineState("1.29.0", null), new EngineState("0.15.2", null), new EngineState("1.13.1", null), 4, "OpenBLAS, Haswell kernels");

    private static readonly NativeSetting[] NoSettings = [];

    [Fact]
    public void Judge_EverythingInOrder_IsGoodAndExitsWith0()
    {
        var findings = Diagnosis.Judge(GoodMachine, GoodEngines, NoSettings);
        Assert.All(findings, finding => Assert.Equal((FindingStatus.Good, null), (finding.Status, finding.Remedy)));
        Assert.Equal(0, Diagnosis.ExitCode(findings));
    }

    [Fact]
    public void Judge_EngineThatDoesNotLoad_IsWrongWithItsMessageAndExitsWith2()
    {
        var findings = Diagnosis.Judge(GoodMachine, GoodEngines with { Torch = new EngineState(null, "no such file") }, NoSettings);
        var finding = Single(findings, "libtorch");
        Assert.Equal(FindingStatus.Wrong, finding.Status);
        Assert.Contains("no such file", finding.Found, StringComparison.Ordinal);
        Assert.Contains(".sapo", finding.Remedy, StringComparison.Ordinal);
        Assert.Equal(2, Diagnosis.ExitCode(findings));
    }

    [Theory]
    [InlineData(1L << 30, 1L << 30, FindingStatus.Wrong)] // a container of 1 GiB
    [InlineData(8L << 30, 1L << 30, FindingStatus.Attention)] // others use it
    [InlineData(8L << 30, 2L << 30, FindingStatus.Good)]
    [InlineData(0L, 0L, FindingStatus.Attention)] // unknown
    public void Judge_Memory_DependsOnWhatCouldBeFreed(long total, long available, FindingStatus expected) =>
        AssertStatus("Memory", expected, GoodMachine with { Memory = new MemoryState(total, available) }, GoodEngines);

    [Theory]
    [InlineData(1L << 20, FindingStatus.Wrong)]
    [InlineData(3L << 30, FindingStatus.Good)]
    [InlineData(null, FindingStatus.Attention)]
    public void Judge_Disk_NeedsRoomForARun(long? free, FindingStatus expected) =>
        AssertStatus("Disk", expected, GoodMachine with { FreeDiskBytes = free }, GoodEngines);

    [Fact]
    public void Judge_OneCore_AsksForAttention() => AssertStatus("Cores", FindingStatus.Attention, GoodMachine with { Cores = 1 }, GoodEngines);

    [Fact]
    public void Judge_NoVectorInstructions_AsksForAttention() =>
        AssertStatus("BLAS", FindingStatus.Attention, GoodMachine with { VectorInstructions = "baseline" }, GoodEngines);

    [Fact]
    public void Judge_GpuThatTheEnginesDoNotUse_AsksForAnotherChoice() =>
        AssertStatus("Engines", FindingStatus.Attention, GoodMachine with { Gpus = [SomeGpu] }, GoodEngines);

    [Fact]
    public void Judge_CudaEnginesThatDoNotSeeTheGpu_IsWrong()
    {
        var machine = GoodMachine with { Gpus = [SomeGpu] };
        var blind = GoodEngines with { Runtime = "cuda", Torch = new EngineState("2.7", null, SeesGpu: true) };
        AssertStatus("GPU", FindingStatus.Wrong, machine, blind);
        Assert.StartsWith("ONNX Runtime cannot use it", Single(Diagnosis.Judge(machine, blind, NoSettings), "GPU").Remedy, StringComparison.Ordinal);
        AssertStatus("GPU", FindingStatus.Good, machine, blind with { OnnxRuntime = new EngineState("1.29.0", null, SeesGpu: true) });
    }

    [Theory]
    [InlineData("active", FindingStatus.Attention)]
    [InlineData("PASSIVE", FindingStatus.Good)]
    public void Judge_WaitPolicySetByTheUser_IsJudgedByItsValue(string policy, FindingStatus expected)
    {
        var findings = Diagnosis.Judge(GoodMachine, GoodEngines, [new NativeSetting("OMP_WAIT_POLICY", policy, SetByUser: true, "why")]);
        Assert.Equal(expected, Single(findings, "Environment").Status);
    }

    [Fact]
    public void Judge_KernelSetByTheUser_AsksForAttention()
    {
        var findings = Diagnosis.Judge(GoodMachine, GoodEngines, [new NativeSetting("OPENBLAS_CORETYPE", "Prescott", SetByUser: true, "why")]);
        Assert.Contains("Prescott", Single(findings, "BLAS").Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Examine_ThisMachine_LoadsEveryEngine()
    {
        var findings = Diagnosis.Examine(AppContext.BaseDirectory);
        Assert.All(
            findings.Where(finding => finding.Area is "ONNX Runtime" or "GenAI" or "libtorch"),
            finding => Assert.Equal(FindingStatus.Good, finding.Status));
        Assert.Matches(@"^\d+\.\d+", Single(findings, "ONNX Runtime").Found);
        Assert.Matches(@"^\d+\.\d+", Single(findings, "GenAI").Found);
        Assert.Matches(@"^\d+\.\d+", Single(findings, "libtorch").Found);
        Assert.All(findings, finding => Assert.Equal(finding.Status == FindingStatus.Good, finding.Remedy is null));
    }

    private static DoctorFinding Single(IEnumerable<DoctorFinding> findings, string area) => Assert.Single(findings, finding => finding.Area == area);

    private static void AssertStatus(string area, FindingStatus expected, MachineReport machine, EngineReport engines)
    {
        var finding = Single(Diagnosis.Judge(machine, engines, NoSettings), area);
        Assert.Equal(expected, finding.Status);
        Assert.Equal(expected == FindingStatus.Good, finding.Remedy is null);
    }
}
