namespace Sapo.Testing;

/// <summary>
/// Where reference values lie: the folder named by SAPO_GOLDEN, else tests/golden of this repository.
/// Tests enumerate what they find there; finding nothing is a failure.
/// </summary>
internal static class Golden
{
    /// <summary>The trait that marks a golden test, so that <c>./test --golden-only</c> finds it: <c>[Trait("Kind", "Golden")]</c>.</summary>
    public const string TraitName = "Kind";

    /// <summary>See <see cref="TraitName"/>.</summary>
    public const string TraitValue = "Golden";

    /// <summary>The root folder of all reference values.</summary>
    public static string Root { get; } = Environment.GetEnvironmentVariable("SAPO_GOLDEN") is { Length: > 0 } other
        ? Path.GetFullPath(other)
        : Path.Combine(RepositoryRoot(), "tests", "golden");

    /// <summary>A path below <see cref="Root"/>.</summary>
    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>Fails when a golden test looked at no case at all, and prints the number it looked at.</summary>
    public static void Report(string what, int cases)
    {
        Console.WriteLine($"golden: {what}: {cases} cases checked");
        Assert.True(cases > 0, $"No reference case for {what} under {Root}. Point SAPO_GOLDEN to a folder of the same layout as tests/golden.");
    }

    /// <summary>The folder that holds Sapo.Hybrid.sln, found upwards from the test's own folder.</summary>
    public static string RepositoryRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "Sapo.Hybrid.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException($"No Sapo.Hybrid.sln above {AppContext.BaseDirectory}.");
    }
}
