using System.Text.RegularExpressions;
using Sapo.ApiList;
using Sapo.Testing;
using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>Our assembly offers nothing that TorchSharp 0.107 does not offer, and nothing that these tests do not call.</summary>
public sealed partial class PublicSurfaceTests
{
    /// <summary>Called by the runtime, or for derived classes and called by members that the tests do call.</summary>
    private static readonly HashSet<string> NotCalledByName = new(StringComparer.Ordinal)
    {
        "Finalize", "GetHashCode", "GetEnumerator", "ClearModules", "ConditionallyRegisterBuffer", "ConditionallyRegisterParameter",
            "GetDefaultDeviceAndType",
        "ReplaceBuffer", "ReplaceParameter", "_to", "_toEpilog", "_step", "Initialize", "LoadStateDict", "apply_internal",
    };

    /// <summary>Methods whose effect only shows on a machine with CUDA.</summary>
    private static readonly HashSet<string> OnCudaOnly = new(StringComparer.Ordinal) { "synchronize", "manual_seed_all",
        "is_cudnn_available", "pin_memory", "allow_tf32" };

    /// <summary>Milliseconds; the patterns take well under one.</summary>
    private const int MatchTimeout = 10_000;

    /// <summary>True where the build took our assembly and not the package.</summary>
    private static bool IsOurs => typeof(Tensor).Assembly.GetType("TorchSharp.Native.Operators") is not null;

    /// <summary>The file holds, of TorchSharp 0.107's public members, those of the types that our assembly has.</summary>
    [Fact]
    public void OurAssembly_OffersNothingThatTorchSharpLacks()
    {
        if (!IsOurs) return;
        HashSet<string> accepted = [.. File.ReadLines(Path.Combine(Golden.RepositoryRoot(), "tests", "TorchSharp.Tests",
            "torchsharp-0.107-api.txt"))];
        IReadOnlyCollection<string> offered = PublicSurface.Of(typeof(Tensor).Assembly);
        Assert.True(offered.Count > 1000, $"only {offered.Count} members found");
        Assert.Equal(string.Empty, string.Join('\n', offered.Except(accepted, StringComparer.Ordinal)));
    }

    [Fact]
    public void PublicMethods_AreAllCalledByTheseTests()
    {
        if (!IsOurs) return;
        string tests = string.Concat(Directory.EnumerateFiles(Path.Combine(Golden.RepositoryRoot(), "tests", "TorchSharp.Tests"),
            "*.cs").Select(File.ReadAllText));
        HashSet<string> called = [.. CallPattern().Matches(tests).Select(match => match.Groups["name"].Value)];
        HashSet<string> offered = [.. PublicSurface.Of(typeof(Tensor).Assembly).Select(NameOfMethod).OfType<string>()];
        Assert.True(offered.Count > 300, $"only {offered.Count} methods found");
        offered.ExceptWith(called);
        offered.ExceptWith(NotCalledByName);
        offered.ExceptWith(OnCudaOnly);
        Assert.Equal(string.Empty, string.Join(' ', offered.Order(StringComparer.Ordinal)));
    }

    /// <summary>The statics of torch are called as torch.name or name, never only as a tensor's method.</summary>
    [Fact]
    public void FunctionsOfTorch_AreAllCalledAsFunctions()
    {
        if (!IsOurs) return;
        string tests = string.Concat(Directory.EnumerateFiles(Path.Combine(Golden.RepositoryRoot(), "tests", "TorchSharp.Tests"),
            "*.cs").Select(File.ReadAllText));
        HashSet<string> called = [.. FunctionPattern().Matches(tests).Select(match => match.Groups["name"].Value)];
        string[] missing = [.. PublicSurface.Of(typeof(Tensor).Assembly).Where(line =>
            line.StartsWith("TorchSharp.torch : static",
            StringComparison.Ordinal)).Select(NameOfMethod).OfType<string>().Distinct(StringComparer.Ordinal).Where(name =>
            !called.Contains(name))];
        Assert.Equal(string.Empty, string.Join(' ', missing));
    }

    private static string? NameOfMethod(string line)
    {
        Match match = MethodPattern().Match(line);
        return match.Success && !match.Groups["name"].Value.StartsWith("op_", StringComparison.Ordinal) ? match.Groups["name"].Value : null;
    }

    [GeneratedRegex(@" : .*? (?<name>[A-Za-z_0-9]+)(?:<[A-Za-z0-9,]+>)?\(", RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex MethodPattern();

    [GeneratedRegex(@"(?<=[.\s(\[!@])(?<name>[A-Za-z_0-9]+)(?:<[A-Za-z0-9,.<>\[\] ]+>)?\(", RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex CallPattern();

    [GeneratedRegex(@"(?<=torch\.|[\s(\[!])(?<name>[A-Za-z_0-9]+)\(", RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex FunctionPattern();
}
