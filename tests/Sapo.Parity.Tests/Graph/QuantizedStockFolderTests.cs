using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
using Sapo.Rollout;
using Sapo.Sync;
using Sapo.Sync.Graphs;

namespace Sapo.Parity.Tests.Graph;

/// <summary>A folder as GenAI's builder makes them with quantised weights: integer products inside, logits in 32 bits.</summary>
public sealed class QuantizedStockFolderTests : IDisposable
{
    private const float RoundingTolerance = 1e-5f; // the same products; attention and head are the same nodes

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-quantised-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Theory]
    [InlineData(Precision.Int4), InlineData(Precision.Int8)]
    public async Task GenerateAsync_StockFolderWithIntegerWeights_GivesTheSameAsOurOwnGraph(Precision precision)
    {
        var policy = ImportTiny(precision);
        await using var own = await RolloutEngine.StartAsync(policy, new EngineOptions { Slots = 4, Precision = precision.Name() }, 2, null, default);
        await using var stock = await RolloutEngine.StartAsync(AsStock(policy, precision), new EngineOptions { Slots = 4 }, 2, null, default);
        foreach (var sampling in new[] { new SamplingOptions { MaxNewTokens = 16, StopTokenIds = [] }, new SamplingOptions { MaxNewTokens = 16, StopTokenIds = [], TopK = 6, Temperature = 0.8 } })
        {
            var prompt = new Prompt { Id = 3, TokenIds = [7, 1, 22, 9, 30] };
            var (expected, found) = (await own.GenerateAsync(prompt, 6, sampling, default), await stock.GenerateAsync(prompt, 6, sampling, default));
            foreach (var (a, b) in expected.Completions.Zip(found.Completions))
            {
                Assert.Equal(a.TokenIds, b.TokenIds);
                for (var i = 0; i < a.TokenIds.Length; i++) Assert.Equal(a.BehaviourLogProbs[i], b.BehaviourLogProbs[i], RoundingTolerance);
            }
        }
    }

    private PublishedPolicy ImportTiny(Precision precision)
    {
        var folder = Path.Combine(_scratch.FullName, "model");
        HuggingFaceFolder.Create(folder, Config, seed: 1, standardDeviation: 0.3);
        return PolicyImporter.Import(folder, folder + "-policy", precision: precision);
    }

    // The graph with logits over the policy's integers, in a folder with nothing else of ours.
    private PublishedPolicy AsStock(PublishedPolicy policy, Precision precision)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_scratch.FullName, "stock")).FullName;
        foreach (var name in new[] { "genai_config.json", PublishedPolicy.WeightsFile, PublishedPolicy.WeightsFileOf(precision) }) File.Copy(Path.Combine(policy.Folder, name), Path.Combine(folder, name));
        var offsets = SafetensorsWriter.FileOffsets([.. Config.Parameters().Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape))]);
        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), new OnnxGraphWriter(Config, offsets, null, precision).LogitsGraph());
        return StockImporter.Import(folder, folder + "-policy");
    }

    private static ModelConfig Config { get; } = new()
    {
        ModelType = "llama", VocabSize = 40, HiddenSize = 32, LayerCount = 2, HeadCount = 2, KeyValueHeadCount = 1, HeadSize = 16, IntermediateSize = 48,
        MaxPositions = 48, SlidingWindows = [null, null], EndTokenIds = [1],
    };
}
