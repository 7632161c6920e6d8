// Set-up as text and as MSBuild sees it: the scripts parse and refuse what they do not know, the lock file names versions
// and no addresses, and SapoRuntime alone decides which engines a project gets.
using System.Diagnostics;
using System.Text.Json;
using System.Xml.Linq;
using Sapo.Testing;

namespace Sapo.Cli.Tests;

public sealed class SetupTests
{
    private static readonly string Root = Golden.RepositoryRoot();

    public static TheoryData<string> Scripts => ["sapo", "test", ".ci/run", "eng/setup.sh", "eng/steps.sh"];

    public static TheoryData<string> Programs => ["sapo", "test", ".ci/run", "eng/setup.sh"];

    [Theory]
    [MemberData(nameof(Scripts))]
    public void Script_Syntax_IsValid(string script)
    {
        var (exitCode, output) = Run("bash", "-n", script);
        Assert.True(exitCode == 0, output);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public void Script_ThatIsRun_HasTheRunBit(string script)
    {
        if (OperatingSystem.IsWindows()) return;
        Assert.True(File.GetUnixFileMode(Path.Combine(Root, script)).HasFlag(UnixFileMode.UserExecute));
    }

    [Theory]
    [InlineData("test", "--golden", "Unknown option '--golden'")]
    [InlineData("eng/setup.sh", "--runtme", "Unknown option '--runtme'")]
    [InlineData("eng/setup.sh", "--runtime=gpu", "expected cuda, cpu, local or auto")]
    public void Script_UnknownArgument_IsRefusedBeforeAnythingIsDone(string script, string argument, string message)
    {
        var (exitCode, output) = Run("bash", script, argument);
        Assert.Equal(2, exitCode);
        Assert.Contains(message, output, StringComparison.Ordinal);
    }

    [Fact]
    public void LockFile_Packages_HaveChecksumsAndNoAddresses()
    {
        var text = File.ReadAllText(Path.Combine(Root, "runtimes", "onnx", "package-lock.json"));
        Assert.DoesNotContain("resolved", text, StringComparison.Ordinal);
        Assert.DoesNotContain("://", text, StringComparison.Ordinal);
        using var document = JsonDocument.Parse(text);
        var packages = document.RootElement.GetProperty("packages").EnumerateObject().Where(package => package.Name.Length > 0).ToList();
        Assert.Equal(2, packages.Count);
        Assert.All(packages, package => Assert.StartsWith("sha512-", package.Value.GetProperty("integrity").GetString(), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Microsoft.ML.OnnxRuntime")]
    [InlineData("Microsoft.ML.OnnxRuntimeGenAI")]
    public void LocalEngine_Version_IsThatOfThePackage(string name)
    {
        var local = XDocument.Load(Path.Combine(Root, "runtimes", "onnx", name, name + ".csproj")).Descendants("Version").Single().Value;
        var central = XDocument.Load(Path.Combine(Root, "Directory.Packages.props")).Descendants("PackageVersion")
            .Single(package => package.Attribute("Include")!.Value == name).Attribute("Version")!.Value;
        Assert.Equal(central, local);
    }

    [Theory]
    [InlineData("src/Sapo.Rollout", "cuda", "Microsoft.ML.OnnxRuntime.Gpu Microsoft.ML.OnnxRuntimeGenAI.Cuda")]
    [InlineData("src/Sapo.Learner", "cuda", "TorchSharp-cuda-linux")]
    [InlineData("src/Sapo.Hybrid", "cuda", "Microsoft.ML.OnnxRuntime.Gpu Microsoft.ML.OnnxRuntimeGenAI.Cuda TorchSharp-cuda-linux")]
    [InlineData("tools/Sapo.Cli", "cuda", "Microsoft.ML.OnnxRuntime.Gpu Microsoft.ML.OnnxRuntimeGenAI.Cuda TorchSharp-cuda-linux")]
    [InlineData("src/Sapo.Rollout", "cpu", "Microsoft.ML.OnnxRuntime Microsoft.ML.OnnxRuntimeGenAI")]
    [InlineData("tools/Sapo.Cli", "cpu", "Microsoft.ML.OnnxRuntime Microsoft.ML.OnnxRuntimeGenAI TorchSharp-cpu")]
    [InlineData("tools/Sapo.Cli", "local", "")]
    [InlineData("src/Sapo.Sync", "cuda", "")]
    public void Runtime_OfAProject_DecidesItsEnginePackages(string project, string runtime, string expected)
    {
        var (exitCode, output) = Run("dotnet", "msbuild", project, "-getItem:PackageReference", "-p:SapoRuntime=" + runtime);
        Assert.True(exitCode == 0, output);
        using var document = JsonDocument.Parse(output);
        var engines = document.RootElement.GetProperty("Items").GetProperty("PackageReference").EnumerateArray()
            .Select(package => package.GetProperty("Identity").GetString()!)
            .Where(name => name.StartsWith("Microsoft.ML.", StringComparison.Ordinal) || name.StartsWith("TorchSharp", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);
        Assert.Equal(expected, string.Join(' ', engines));
    }

    [Fact]
    public void Runtime_Unknown_FailsWithTheChoices()
    {
        var (exitCode, output) = Run("dotnet", "msbuild", "src/Sapo.Core", "-t:RequireKnownRuntime", "-p:SapoRuntime=gpu", "-nologo");
        Assert.NotEqual(0, exitCode);
        Assert.Contains("SapoRuntime is 'gpu'; expected cuda, cpu or local", output, StringComparison.Ordinal);
    }

    /// <summary>Runs a program in the repository's root; the output is that of both streams.</summary>
    private static (int ExitCode, string Output) Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = Root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.GetAwaiter().GetResult());
    }
}
