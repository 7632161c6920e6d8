using Sapo.Core.Machine;

namespace Sapo.Core.Tests.Machine;

public sealed class MemoryStateTests
{
    private static readonly MemoryState Machine = new(TotalBytes: 1000, AvailableBytes: 800);

    [Fact]
    public void ParseMeminfo_KernelText_GivesBytes() =>
        Assert.Equal(
            new MemoryState(24684084L * 1024, 24259332L * 1024),
            MemoryState.ParseMeminfo("MemTotal:       24684084 kB\nMemFree:        23531980 kB\nMemAvailable:   24259332 kB\n"));

    [Fact]
    public void ParseMeminfo_Empty_GivesZeros() => Assert.Equal(new MemoryState(0, 0), MemoryState.ParseMeminfo(""));

    [Fact]
    public void Within_NoLimitOrALargerOne_ChangesNothing()
    {
        Assert.Equal(Machine, Machine.Within(null, 0, 0));
        Assert.Equal(Machine, Machine.Within(5000, 4900, 0));
    }

    [Fact]
    public void Within_SmallerLimit_CountsPageCacheAsAvailable() =>
        // 500 allowed, 300 used of which 100 are page cache: 500 - (300 - 100).
        Assert.Equal(new MemoryState(500, 300), Machine.Within(500, 300, 100));

    [Fact]
    public void Within_SmallerLimitOnAFullMachine_IsLimitedByTheMachine() =>
        Assert.Equal(new MemoryState(900, 800), Machine.Within(900, 10, 0));

    [Fact]
    public void GroupFolders_BothVersions_GoFromInnermostToRoot() =>
        Assert.Equal(
            [
                "/sys/fs/cgroup/memory/docker/abc", "/sys/fs/cgroup/memory/docker", "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/user.slice/run", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup",
            ],
            MemoryState.GroupFolders("8:pids:/x\n4:memory:/docker/abc\n0::/user.slice/run\n"),
            StringComparer.Ordinal);

    [Fact]
    public void GroupFolders_RootGroup_IsTheRootAlone() => Assert.Equal("/sys/fs/cgroup", Assert.Single(MemoryState.GroupFolders("0::/\n")));
}
