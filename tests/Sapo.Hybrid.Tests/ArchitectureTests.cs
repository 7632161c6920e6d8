// Holds the arrows of the architecture: what each project of src/ may know. Two views are checked, because each sees
// what the other does not: the project files (a reference that no code uses yet) and the built assemblies (a type that
// came in through another reference).
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;
using Sapo.Testing;

namespace Sapo.Hybrid.Tests;

public sealed class ArchitectureTests
{
    private static readonly string[] InferenceEngines = ["Microsoft.ML.OnnxRuntime", "Microsoft.ML.OnnxRuntimeGenAI"];
    private static readonly string[] TrainingEngines = ["TorchSharp"];

    [Theory]
    [InlineData("Sapo.Core", "")]
    [InlineData("Sapo.Rollout", "Sapo.Core")]
    [InlineData("Sapo.Learner", "Sapo.Core")]
    [InlineData("Sapo.Sync", "Sapo.Core")]
    [InlineData("Sapo.Hybrid", "Sapo.Core Sapo.Learner Sapo.Rollout Sapo.Sync")]
    public void ProjectFile_References_AreTheArrows(string project, string expected)
    {
        var file = Path.Combine(Golden.RepositoryRoot(), "src", project, project + ".csproj");
        var references = XDocument.Load(file).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value))
            .Order(StringComparer.Ordinal);
        Assert.Equal(expected, string.Join(' ', references));
    }

    [Fact]
    public void Core_References_AreTheBaseClassLibraryOnly()
    {
        var framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        Assert.All(ReferencesOf("Sapo.Core"), reference => Assert.True(File.Exists(Path.Combine(framework, reference + ".dll")), reference));
    }

    [Theory]
    [InlineData("Sapo.Rollout")]
    [InlineData("Sapo.Learner")]
    [InlineData("Sapo.Sync")]
    public void Part_SapoReferences_AreCoreOnly(string assembly) =>
        Assert.DoesNotContain(
            ReferencesOf(assembly),
            reference => reference.StartsWith("Sapo.", StringComparison.Ordinal) && reference != "Sapo.Core");

    [Fact]
    public void Rollout_NeverKnowsTheLearnersEngine() =>
        Assert.Empty(ReferencesOf("Sapo.Rollout").Intersect(TrainingEngines, StringComparer.Ordinal));

    [Fact]
    public void Learner_NeverKnowsTheInferenceEngines() =>
        Assert.Empty(ReferencesOf("Sapo.Learner").Intersect(InferenceEngines, StringComparer.Ordinal));

    [Fact]
    public void Sync_KnowsNoEngine() =>
        Assert.Empty(ReferencesOf("Sapo.Sync").Intersect([.. InferenceEngines, .. TrainingEngines], StringComparer.Ordinal));

    [Fact]
    public void Learner_NeverKnowsWhichTorchSharpItRunsOn()
    {
        // The local binding is recognisable by its native library's name and by the property that chooses it.
        var (names, literals) = NamesAndLiteralsOf("Sapo.Learner");
        Assert.Contains("TorchSharp", ReferencesOf("Sapo.Learner"), StringComparer.Ordinal);
        Assert.NotEmpty(literals);
        Assert.DoesNotContain(names.Concat(literals), text =>
            text.Contains("sapo_torch", StringComparison.OrdinalIgnoreCase) || text.Contains("SapoRuntime", StringComparison.OrdinalIgnoreCase));
    }

    private static List<string> ReferencesOf(string assembly) => Read(assembly, metadata =>
        metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name)).ToList());

    /// <summary>Every type, member and module the assembly mentions, and every text in its code.</summary>
    private static (List<string> Names, List<string> Literals) NamesAndLiteralsOf(string assembly) => Read(assembly, metadata =>
    {
        var names = metadata.TypeReferences.Select(handle => metadata.GetString(metadata.GetTypeReference(handle).Name))
            .Concat(metadata.MemberReferences.Select(handle => metadata.GetString(metadata.GetMemberReference(handle).Name)))
            .Concat(Enumerable.Range(1, metadata.GetTableRowCount(TableIndex.ModuleRef))
                .Select(row => metadata.GetString(metadata.GetModuleReference(MetadataTokens.ModuleReferenceHandle(row)).Name)))
            .ToList();
        var literals = new List<string>();
        for (var handle = MetadataTokens.UserStringHandle(1); !handle.IsNil; handle = metadata.GetNextHandle(handle))
            literals.Add(metadata.GetUserString(handle));
        return (names, literals);
    });

    /// <summary>Reads an assembly beside the tests; one that is not there fails the test.</summary>
    private static T Read<T>(string assembly, Func<MetadataReader, T> read)
    {
        using var file = File.OpenRead(Path.Combine(AppContext.BaseDirectory, assembly + ".dll"));
        using var image = new PEReader(file);
        return read(image.GetMetadataReader());
    }
}
