using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>The same checkpoint in another layout gives the same bits.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class CheckpointLayoutTests
{
    [Fact]
    public void Logits_OlderConfigLayout_AreTheSameBits()
    {
        var compared = 0;
        foreach (var one in HuggingFaceCase.All.Where(one => File.Exists(Path.Combine(one.FolderPath, "config.legacy.json"))))
        {
            var copy = Directory.CreateTempSubdirectory("sapo-legacy-").FullName;
            try
            {
                foreach (var file in Directory.GetFiles(one.FolderPath, "model*")) File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
                File.Copy(Path.Combine(one.FolderPath, "config.legacy.json"), Path.Combine(copy, "config.json"));
                Assert.Equal(Logits(one.FolderPath, one), Logits(copy, one));
                compared++;
            }
            finally
            {
                Directory.Delete(copy, recursive: true);
            }
        }
        Golden.Report("hf: config.legacy.json", compared);
    }

    [Fact]
    public void Logits_ShardedFolder_AreTheSameBitsAsItsSource()
    {
        var compared = 0;
        foreach (var one in HuggingFaceCase.All.Where(one => one.Folder != one.GoldenFolder && Directory.Exists(Golden.PathOf("hf", one.GoldenFolder))))
        {
            Assert.Equal(Logits(Golden.PathOf("hf", one.GoldenFolder), one), Logits(one.FolderPath, one));
            compared++;
        }
        Golden.Report("hf: sharded folders", compared);
    }

    private static double[] Logits(string folder, HuggingFaceCase one)
    {
        using var scope = NewDisposeScope();
        using var loaded = new LoadedModel(folder);
        using var golden = one.Tensors();
        using var batch = new PackedTokens(GoldenRows.Read(golden).GroupsOfAllPositions(), CPU);
        return HostArrays.Double(loaded.Model.Logits(batch));
    }
}
