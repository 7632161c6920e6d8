using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Core.Models;

namespace Sapo.Sync.Tests.Publishing;

/// <summary>Folders that are made without a learner, and manifests that do not match theirs.</summary>
public sealed class FolderTests : IDisposable
{
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-folder-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    public void Create_SameSeed_GivesTheSameBytes()
    {
        // The digest is that of a separate program written from the definition; it pins the numbers: a change of generator or order would silently change every run that starts from a seed.
        const string Pinned = "cf4c053bd0203e6adf91bdbbe2baab04ca3eda6aa9e3df8a6db703747a8ec889";
        Assert.Equal(Pinned, Hash(Create("a", seed: 7)));
        Assert.Equal(Pinned, Hash(Create("b", seed: 7)));
        Assert.False(Hash(Create("c", seed: 8)) == Pinned);
    }

    [Fact]
    public void Create_Folder_IsACheckpointOfThatConfiguration()
    {
        var config = TestModel.Config with { ModelType = "llama", QueryKeyNorm = false, QueryKeyValueBias = true, OutputBias = true, TieWordEmbeddings = false };
        var folder = PathOf("llama");
        HuggingFaceFolder.Create(folder, config, seed: 3, standardDeviation: 0.5);
        using var checkpoint = HuggingFaceCheckpoint.Open(folder);
        Assert.Equal(config.ParameterCount, checkpoint.Config.ParameterCount);
        foreach (var (name, shape) in config.Parameters())
        {
            var values = new float[shape.Aggregate(1L, (product, size) => product * size)];
            checkpoint.CopyTo(name, values);
            if (name.EndsWith("bias", StringComparison.Ordinal)) Assert.All(values, value => Assert.Equal(0, value));
            else if (shape.Length == 1) Assert.All(values, value => Assert.Equal(1, value));
            else Assert.InRange(Math.Sqrt(values.Average(value => (double)value * value)), 0.4, 0.6);
        }
    }

    [Fact]
    public void Create_FolderWithAModel_IsRefused()
    {
        var folder = Create("taken", seed: 1);
        Assert.Contains(folder, Assert.Throws<UserErrorException>(() => HuggingFaceFolder.Create(folder, TestModel.Config, seed: 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Import_ShardedCheckpoint_GivesTheBytesOfTheWholeOne()
    {
        var compared = 0;
        foreach (var sharded in Directory.Exists(Golden.PathOf("hf")) ? Directory.GetDirectories(Golden.PathOf("hf"), "*-sharded") : [])
        {
            var whole = sharded[..^"-sharded".Length];
            if (!Directory.Exists(whole)) continue;
            var name = Path.GetFileName(whole);
            Assert.Equal(Hash(PolicyImporter.Import(whole, PathOf(name)).Folder), Hash(PolicyImporter.Import(sharded, PathOf(name + "-sharded")).Folder));
            compared++;
        }
        Golden.Report("sharded imports", compared);
    }

    [Fact]
    public void Import_Checkpoint_GivesAFolderThatVerifiesWithoutProbe()
    {
        var policy = PolicyImporter.Import(Create("model", seed: 1), PathOf("imported"));
        policy.Verify();
        Assert.Empty(PublishedPolicy.Open(policy.Folder).Manifest.Probe);
        Assert.Empty(_scratch.GetDirectories("*.partial"));
    }

    [Fact]
    public void Import_IntoAFolderWithFiles_IsRefused()
    {
        var model = Create("model", seed: 1);
        Directory.CreateDirectory(PathOf("full"));
        File.WriteAllText(Path.Combine(PathOf("full"), "thesis.txt"), "years of work");
        Assert.Contains("not empty", Assert.Throws<UserErrorException>(() => PolicyImporter.Import(model, PathOf("full"))).Message, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(PathOf("full"), "thesis.txt")));
    }

    [Fact]
    public void Import_BrokenCheckpoint_LeavesNothing()
    {
        var model = Create("model", seed: 1);
        using (var file = File.OpenWrite(Path.Combine(model, PublishedPolicy.WeightsFile)))
        {
            file.Seek(-4, SeekOrigin.End);
            file.Write(BitConverter.GetBytes(float.NaN));
        }
        Assert.Contains("NaN", Assert.Throws<UserErrorException>(() => PolicyImporter.Import(model, PathOf("imported"))).Message, StringComparison.Ordinal);
        Assert.Equal(model, Assert.Single(Directory.GetDirectories(_scratch.FullName)));
    }

    [Theory]
    [InlineData("""{"formatVersion": 2}""", "formatVersion 2")]
    [InlineData("""{"version": -1}""", "version -1")]
    [InlineData("""{"files": null}""", "cannot be read")]
    [InlineData("""{"files": []}""", "model.safetensors")]
    [InlineData("""{"files": [{"name": "../model/model.safetensors", "bytes": 1, "sha256": ""}]}""", "../model")]
    [InlineData("""{"files": [{"name": "model.safetensors", "bytes": 1, "sha256": ""}, {"name": "decode.onnx", "bytes": 1, "sha256": ""}]}""", "1 bytes")]
    [InlineData("""{"probe": [{"tokenIds": [1], "logProbs": [0, 0]}]}""", "probe")]
    [InlineData("""{"probe": [{"tokenIds": [1, 2]}]}""", "cannot be read")]
    public void Open_TamperedManifest_IsRefused(string change, string complaint)
    {
        var policy = PolicyImporter.Import(Create("model", seed: 1), PathOf("imported"));
        var path = Path.Combine(policy.Folder, PolicyManifest.FileName);
        var json = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        foreach (var (name, value) in JsonNode.Parse(change)!.AsObject()) json[name] = value?.DeepClone();
        File.WriteAllText(path, json.ToJsonString());
        Assert.Contains(complaint, Assert.Throws<UserErrorException>(() => PublishedPolicy.Open(policy.Folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_ChangedWeight_IsFoundThoughTheSizeIsRight()
    {
        var policy = PolicyImporter.Import(Create("model", seed: 1), PathOf("imported"));
        using (var file = File.OpenWrite(Path.Combine(policy.Folder, PublishedPolicy.WeightsFile)))
        {
            file.Seek(-1, SeekOrigin.End);
            file.WriteByte(0x7F);
        }
        var opened = PublishedPolicy.Open(policy.Folder);
        Assert.Contains(PublishedPolicy.WeightsFile, Assert.Throws<UserErrorException>(opened.Verify).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CreateOrCopy_OtherVolume_Copies()
    {
        const string OtherVolume = "/dev/shm";
        if (!OperatingSystem.IsLinux() || !Directory.Exists(OtherVolume)) return; // no second volume is certain to be there elsewhere
        var source = PathOf("source.txt");
        File.WriteAllText(source, "content");
        var copy = Path.Combine(OtherVolume, $"sapo-{Guid.NewGuid():N}");
        try
        {
            HardLink.CreateOrCopy(source, copy);
            Assert.Equal("content", File.ReadAllText(copy));
        }
        finally
        {
            File.Delete(copy);
        }
    }

    private string Create(string name, long seed)
    {
        HuggingFaceFolder.Create(PathOf(name), TestModel.Config, seed);
        return PathOf(name);
    }

    private string PathOf(string name) => Path.Combine(_scratch.FullName, name);

    private static string Hash(string folder) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, PublishedPolicy.WeightsFile))));
}
