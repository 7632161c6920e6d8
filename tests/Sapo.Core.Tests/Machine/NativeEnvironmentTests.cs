using System.Globalization;
using System.Runtime.InteropServices;
using Sapo.Core.Machine;

namespace Sapo.Core.Tests.Machine;

public sealed partial class NativeEnvironmentTests
{
    [Fact]
    public void Choose_ThreadsAndKernel_ComeFromBudgetAndProcessor()
    {
        var processor = ProcessorInfo.Parse("flags : avx2 fma\n");
        var settings = NativeEnvironment.Choose(new ThreadBudget(8, 3, 5), processor).ToDictionary(setting => setting.Name, setting => setting.Value, StringComparer.Ordinal);
        Assert.Equal("5", settings["OMP_NUM_THREADS"]);
        Assert.Equal("1", settings["OPENBLAS_NUM_THREADS"]);
        Assert.Equal("passive", settings["OMP_WAIT_POLICY"]);
        Assert.Equal("1", settings["ORT_DISABLE_TELEMETRY"]);
        Assert.Equal("Haswell", settings["OPENBLAS_CORETYPE"]);
    }

    [Fact]
    public void Choose_UnknownProcessor_LeavesTheKernelToOpenBlas() =>
        Assert.DoesNotContain(
            NativeEnvironment.Choose(new ThreadBudget(1, 1, 1), ProcessorInfo.Parse("")),
            setting => setting.Name == "OPENBLAS_CORETYPE");

    [Fact]
    public void Prepare_OnLinux_IsSeenByNativeCode()
    {
        var settings = NativeEnvironment.Prepare();
        if (!OperatingSystem.IsLinux())
        {
            Assert.Empty(settings);
            return;
        }

        Assert.Contains(settings, setting => setting.Name == "ORT_DISABLE_TELEMETRY");
        Assert.All(settings, setting =>
        {
            Assert.Equal(setting.Value, Marshal.PtrToStringUTF8(GetEnv(setting.Name)));
            Assert.Equal(setting.Value, Environment.GetEnvironmentVariable(setting.Name));
            Assert.NotEmpty(setting.Reason);
        });
    }

    [Fact]
    public void Prepare_CalledAgainFromManyThreads_ChangesNothing()
    {
        var first = NativeEnvironment.Prepare();
        var other = new ThreadBudget(1024, 512, 512);
        Parallel.For(0, 16, _ => Assert.Same(first, NativeEnvironment.Prepare(other)));
        Assert.DoesNotContain(first, setting => setting.Value == other.LearnerThreads.ToString(CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Apply_VariableTheUserHasSet_KeepsTheUsersValue()
    {
        Environment.SetEnvironmentVariable("SAPO_TEST_SET_BY_USER", "mine");
        var setting = NativeEnvironment.Apply(new NativeSetting("SAPO_TEST_SET_BY_USER", "ours", SetByUser: false, "a test"));
        Assert.True(setting.SetByUser);
        Assert.Equal("mine", setting.Value);
        Assert.Equal("mine", Environment.GetEnvironmentVariable("SAPO_TEST_SET_BY_USER"));
    }

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint GetEnv(string name);
}
