using Sapo.Core.Machine;

namespace Sapo.Core.Tests.Machine;

public sealed class MachineProbeTests
{
    [Fact]
    public void ParseGpus_DriversLines_GiveNameMemoryAndDriver()
    {
        var gpus = MachineProbe.ParseGpus("NVIDIA H100 80GB HBM3, 81559, 570.86\nNo devices were found\n");
        Assert.Equal([new GpuInfo("NVIDIA H100 80GB HBM3", 81559L << 20, "570.86")], gpus);
    }

    [Fact]
    public void FreeDisk_FolderThatDoesNotExistYet_IsThatOfItsParent()
    {
        var free = MachineProbe.FreeDisk(Path.Combine(AppContext.BaseDirectory, "not", "there", "yet"));
        Assert.NotNull(free);
        Assert.True(free > 0);
    }

    [Fact]
    public void Look_ThisMachine_FindsItsParts()
    {
        var report = MachineProbe.Look(AppContext.BaseDirectory);
        Assert.Equal(Environment.ProcessorCount, report.Cores);
        Assert.InRange(report.Memory.AvailableBytes, 1, report.Memory.TotalBytes);
        Assert.Equal(Path.GetFullPath(AppContext.BaseDirectory), report.Folder);
        Assert.NotEmpty(report.Processor);
        Assert.StartsWith(".NET", report.DotnetRuntime, StringComparison.Ordinal);
    }
}
