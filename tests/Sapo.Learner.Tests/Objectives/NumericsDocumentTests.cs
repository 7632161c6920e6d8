using Sapo.Core.Options;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>docs/numerics.md speaks of every objective, estimator, aggregation and term file that exists.</summary>
public sealed class NumericsDocumentTests
{
    private static readonly string Document = File.ReadAllText(Path.Combine(Golden.RepositoryRoot(), "docs", "numerics.md"));

    [Fact]
    public void Document_EveryNameOfARunFile_IsThere()
    {
        IEnumerable<string> names = [.. ObjectiveCatalog.All.Select(entry => entry.Name), .. AdvantageOptions.Known.Select(known => known.Estimator), .. ObjectiveCatalog.Aggregations];
        Assert.All(names, name => Assert.True(Document.Contains($"`{name}`", StringComparison.Ordinal), $"docs/numerics.md does not mention {name}."));
    }

    [Fact]
    public void Document_EveryTermFile_IsThere()
    {
        string folder = Path.Combine(Golden.RepositoryRoot(), "src", "Sapo.Learner", "Objectives", "Terms");
        Assert.All(Directory.GetFiles(folder, "*.cs"), file => Assert.Contains($"`{Path.GetFileNameWithoutExtension(file)}`", Document, StringComparison.Ordinal));
    }
}
