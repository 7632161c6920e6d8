using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync.Graphs;
using Sapo.Sync.Tests.Onnx;

namespace Sapo.Sync.Tests.Weights;

/// <summary>What a precision below 32 bits changes in graphs and folders.</summary>
public sealed class PrecisionTests : IDisposable
{
    private const long Float = 1, UInt8 = 2, Float16 = 10, BFloat16 = 16;

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-precision-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Theory]
    [InlineData(Precision.Int8, true), InlineData(Precision.Int4, true), InlineData(Precision.Int4, false)]
    public void DecodeGraph_Quantised_MultipliesWithIntegersAndLooksRowsUpInFloats(Precision precision, bool tied)
    {
        var config = TestModel.Config with { TieWordEmbeddings = tied };
        var layout = new ReducedLayout(config, precision);
        foreach (var content in new[] { Writer(config, precision).DecodeGraph(), Writer(config, precision).GenAiDecodeGraph() })
        {
            var graph = new OnnxFile(content).Graph;
            var products = graph.Nodes.Where(node => node.Operator == "com.microsoft.MatMulNBits").ToArray();
            Assert.Equal(7 * config.LayerCount + 1, products.Length); // q, k, v, o, gate, up, down, and the head
            Assert.DoesNotContain(graph.Nodes, node => node.Operator == "com.microsoft.FusedMatMul");
            foreach (var product in products)
            {
                var integers = layout.Tensors.Single(tensor => tensor.Header.Name == product.Inputs[1]);
                var shape = config.Parameters().Single(parameter => parameter.Name == integers.Source).Shape;
                Assert.Equal((shape[0], shape[1], layout.Bits, 32), (Number("N"), Number("K"), Number("bits"), Number("block_size")));
                Assert.Equal(ReducedLayout.ScalesOf(integers.Source), product.Inputs[2]);

                long Number(string attribute) => product.Attribute(attribute).Number(3);
            }
            Assert.Equal("model.embed_tokens.weight", graph.Nodes.First(node => node.Operator == "Gather").Inputs[0]);
            CheckPlaces(graph, config, layout);
        }
    }

    [Theory]
    [InlineData(Precision.Fp16, Float16), InlineData(Precision.Bf16, BFloat16)]
    public void DecodeGraph_HalfPrecision_HasHalfCachesAndASamplingHeadInFloats(Precision precision, long type)
    {
        var graph = new OnnxFile(Writer(TestModel.Config, precision).DecodeGraph()).Graph;
        Assert.Contains($"past_key_values.1.value:{type}[batch,1,past_length,16]", graph.Inputs);
        Assert.Contains($"present.0.key:{type}[batch,1,present_length,16]", graph.Outputs);
        Assert.Contains("temperature:1[batch]", graph.Inputs);
        Assert.Contains("sampled_logprob:1[batch]", graph.Outputs);
        var head = graph.Nodes.Last(node => node.Operator == "com.microsoft.FusedMatMul");
        var widened = graph.Nodes.Single(node => node.Inputs.Contains(head.Outputs[0]));
        Assert.Equal(("Cast", Float), (widened.Operator, widened.Attribute("to").Number(3)));
        foreach (var table in new[] { "sapo.rotary_cosines", "sapo.rotary_sines" })
            Assert.Equal(type, graph.Nodes.Single(node => node.Inputs.Contains(table)).Attribute("to").Number(3));
        CheckPlaces(graph, TestModel.Config, new ReducedLayout(TestModel.Config, precision));
    }

    [Fact]
    public void ReducedLayout_MixtureOfExperts_QuantisesExpertsAndKeepsTheRouter()
    {
        var config = TestModel.Config with { ModelType = "qwen3_moe", Mixture = new MixtureConfig(4, 2, 6, NormalizeTopK: true, [false, true], 0.001) };
        var layout = new ReducedLayout(config, Precision.Int8);
        Assert.True(layout.IsQuantised("model.layers.1.mlp.experts.3.down_proj.weight"));
        Assert.True(layout.IsKept("model.layers.1.mlp.gate.weight"));
        var refused = Assert.Throws<UserErrorException>(() => new ReducedLayout(config, Precision.Fp16));
        Assert.Contains("mixture of experts", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PublishAsync_Int8_WritesEveryVersionsOwnIntegers()
    {
        var model = TestModel.CreateFolder(_scratch.FullName);
        using var publisher = new PolicyPublisher(Path.Combine(_scratch.FullName, "policies"), model, TimeProvider.System, precision: Precision.Int8);
        foreach (var version in new[] { 1L, 2L })
        {
            var published = await publisher.PublishAsync(TestModel.Snapshot(version), CancellationToken.None);
            published.Verify();
            Assert.True(published.Has(Precision.Int8) && published.Has(Precision.Fp32) && !published.Has(Precision.Int4));
            using var weights = SafetensorsFile.Open(Path.Combine(published.Folder, PublishedPolicy.WeightsFileOf(Precision.Int8)));
            Assert.Equal(new ReducedLayout(TestModel.Config, Precision.Int8).Tensors.Select(tensor => tensor.Header.Name), weights.Entries.Select(entry => entry.Name));
            var scales = MemoryMarshal.Cast<byte, float>(weights.Read(weights.Find("model.layers.1.mlp.up_proj.weight.scales")!));
            Assert.Equal(24, scales.Length); // one block covers the 16 columns
            foreach (var scale in scales) Assert.Equal(version / -128f, scale); // every weight is the version's number, the extreme of its block
            Assert.True(publisher.PrecisionSeconds > 0);
        }
    }

    [Fact]
    public void Import_Fp16_NarrowsEveryWeightToTheNearest()
    {
        var model = TestModel.CreateFolder(_scratch.FullName);
        var policy = PolicyImporter.Import(model, Path.Combine(_scratch.FullName, "policy"), precision: Precision.Fp16);
        using var wide = SafetensorsFile.Open(Path.Combine(policy.Folder, PublishedPolicy.WeightsFile));
        using var narrow = SafetensorsFile.Open(Path.Combine(policy.Folder, PublishedPolicy.WeightsFileOf(Precision.Fp16)));
        foreach (var entry in wide.Entries)
        {
            var expected = MemoryMarshal.Cast<byte, float>(wide.Read(entry));
            var found = MemoryMarshal.Cast<byte, Half>(narrow.Read(narrow.Find(entry.Name)!));
            Assert.Equal(expected.Length, found.Length);
            for (var i = 0; i < found.Length; i++) Assert.Equal((Half)expected[i], found[i]);
        }
    }

    [Fact]
    public void Import_WeightBeyondFp16_IsRefusedByName()
    {
        var model = Path.Combine(_scratch.FullName, "large");
        HuggingFaceFolder.Create(model, TestModel.Config, seed: 1, standardDeviation: 1e6);
        var refused = Assert.Throws<UserErrorException>(() => PolicyImporter.Import(model, model + "-policy", precision: Precision.Fp16));
        Assert.Contains("model.embed_tokens.weight", refused.Message, StringComparison.Ordinal);
    }

    // Every tensor that a layout names, and no other, is an initializer that points at its place in its file.
    private static void CheckPlaces(OnnxGraph graph, ModelConfig config, ReducedLayout layout)
    {
        var external = graph.Initializers.Where(tensor => tensor.External.Count > 0).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        TensorHeader[] reduced = [.. layout.Tensors.Select(tensor => tensor.Header)];
        TensorHeader[] kept = [.. Headers(config).Where(header => layout.IsKept(header.Name))];
        Assert.Equal(reduced.Concat(kept).Select(header => header.Name).Order(StringComparer.Ordinal), external.Keys.Order(StringComparer.Ordinal));
        Check(reduced, SafetensorsWriter.FileOffsets(reduced), PublishedPolicy.WeightsFileOf(layout.Precision));
        Check(kept, SafetensorsWriter.FileOffsets(Headers(config)), PublishedPolicy.WeightsFile);

        void Check(TensorHeader[] headers, IReadOnlyDictionary<string, long> offsets, string file)
        {
            foreach (var header in headers)
            {
                var type = header.Type switch { WeightType.U8 => UInt8, WeightType.F16 => Float16, WeightType.BF16 => BFloat16, _ => Float };
                var tensor = external[header.Name];
                Assert.Equal(header.Shape, tensor.Shape);
                Assert.Equal((type, file, $"{offsets[header.Name]}", $"{header.Bytes}"), (tensor.Type, tensor.External["location"], tensor.External["offset"], tensor.External["length"]));
            }
        }
    }

    private static OnnxGraphWriter Writer(ModelConfig config, Precision precision) => new(config, SafetensorsWriter.FileOffsets(Headers(config)), null, precision);

    private static TensorHeader[] Headers(ModelConfig config) => [.. config.Parameters().Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape))];
}
