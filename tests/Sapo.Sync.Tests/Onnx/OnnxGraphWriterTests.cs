using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync.Graphs;

namespace Sapo.Sync.Tests.Onnx;

public sealed class OnnxGraphWriterTests
{
    private const long Float = 1;

    [Fact]
    public void DecodeGraph_InputsAndOutputs_AreTheContracts()
    {
        var graph = Decode(TestModel.Config).Graph;
        Assert.Equal(
            [
                "input_ids:7[batch,sequence]", "seqlens_k:6[batch]", "total_sequence_length:6[]", "last_index:7[batch]",
                "repetition_penalty:1[batch]", "frequency_penalty:1[batch]", "presence_penalty:1[batch]", "history:7[batch,history]", "history_counts:1[batch,history]", "history_length:7[batch]",
                "top_k:7[batch]", "top_p:1[batch]", "min_p:1[batch]", "truncate:9[]", "kept_limit:7[]", "uniform:1[batch]", "temperature:1[batch]", "min_p_first:9[batch]",
                "forced_token:7[batch]", "alternatives:7[batch]",
                "past_key_values.0.key:1[batch,1,past_length,16]", "past_key_values.0.value:1[batch,1,past_length,16]",
                "past_key_values.1.key:1[batch,1,past_length,16]", "past_key_values.1.value:1[batch,1,past_length,16]",
            ],
            graph.Inputs);
        Assert.Equal(
            [
                "present.0.key:1[batch,1,present_length,16]", "present.0.value:1[batch,1,present_length,16]",
                "present.1.key:1[batch,1,present_length,16]", "present.1.value:1[batch,1,present_length,16]",
                "sampled_token:7[batch]", "sampled_logprob:1[batch]", "untruncated_logprob:1[batch]", "kept_count:7[batch]", "kept_ids:7[batch,kept]",
                "alternative_ids:7[batch,listed]", "alternative_logprobs:1[batch,listed]",
            ],
            graph.Outputs);
    }

    [Fact]
    public void DecodeGraph_OperatorSets_Are17AndMicrosoft1() =>
        Assert.Equal(new Dictionary<string, long>(StringComparer.Ordinal) { [""] = 17, ["com.microsoft"] = 1 }, Decode(TestModel.Config).OperatorSets);

    [Theory]
    [MemberData(nameof(Configurations))]
    public void DecodeGraph_EveryParameter_PointsIntoTheWeightsFile(string name)
    {
        var config = Named(name);
        var offsets = SafetensorsWriter.FileOffsets(Headers(config));
        var external = Decode(config).Graph.Initializers.Where(tensor => tensor.External.Count > 0).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        Assert.Equal(config.Parameters().Select(parameter => parameter.Name).Order(StringComparer.Ordinal), external.Keys.Order(StringComparer.Ordinal));
        foreach (var header in Headers(config))
        {
            var tensor = external[header.Name];
            Assert.Equal(header.Shape, tensor.Shape);
            Assert.Equal((Float, PublishedPolicy.WeightsFile, $"{offsets[header.Name]}", $"{header.Bytes}"), (tensor.Type, tensor.External["location"], tensor.External["offset"], tensor.External["length"]));
        }
    }

    [Theory]
    [MemberData(nameof(Configurations))]
    public void DecodeGraph_Direct_TakesEveryParameterAsAnInput(string name)
    {
        var config = Named(name);
        OnnxFile direct = new(Writer(config).DecodeGraph(direct: true)), plain = Decode(config);
        Assert.Equal(
            Headers(config).Select(header => $"{header.Name}:1[{string.Join(',', header.Shape)}]").Concat(["shared_with:6[batch]", "shared_lengths:6[batch]"]).Order(StringComparer.Ordinal),
            direct.Graph.Inputs.Except(plain.Graph.Inputs, StringComparer.Ordinal).Order(StringComparer.Ordinal));
        Assert.All(direct.Graph.Initializers, tensor => Assert.Empty(tensor.External));
        Assert.Equal(1, direct.OperatorSets["sapo"]);
    }

    [Fact]
    public void HeadGraph_Direct_IsOneNodeWithTheSameInputsAndOutputs()
    {
        OnnxGraph direct = new OnnxFile(OnnxGraphWriter.HeadGraph(100, direct: true)).Graph, plain = new OnnxFile(OnnxGraphWriter.HeadGraph(100)).Graph;
        Assert.Equal("sapo.Sample", Assert.Single(direct.Nodes).Operator);
        Assert.Empty(direct.Initializers);
        Assert.Equal(plain.Inputs, direct.Inputs);
        Assert.Equal(plain.Outputs, direct.Outputs);
    }

    [Theory]
    [MemberData(nameof(Configurations))]
    public void DecodeGraph_Direct_ComputesLayersWithItsOwnOperators(string name)
    {
        var config = Named(name);
        var found = new OnnxFile(Writer(config).DecodeGraph(direct: true)).Graph.Nodes.CountBy(node => node.Operator, StringComparer.Ordinal).ToDictionary(StringComparer.Ordinal);
        var sparse = config.Mixture is null ? 0 : config.Mixture.SparseLayers.Count(isSparse => isSparse);
        var gated = config.LayerCount - sparse + sparse * (config.Mixture?.Experts ?? 0);
        int Of(string operation) => found.GetValueOrDefault(operation);
        Assert.Equal((config.LayerCount, config.LayerCount, 2 * config.LayerCount), (Of("sapo.LinearThree"), Of("sapo.Attention"), Of("sapo.AddNorm")));
        Assert.Equal((config.MlpBias ? 0 : gated, config.MlpBias ? gated : 0), (Of("sapo.LinearGated"), Of("com.microsoft.QuickGelu")));
        Assert.Equal((1, 0), (Of("sapo.Sample"), Of("LogSoftmax")));
        Assert.Equal((0, 0, 0), (Of("com.microsoft.FusedMatMul"), Of("com.microsoft.GroupQueryAttention"), Of("com.microsoft.SkipSimplifiedLayerNormalization")));
        Assert.Equal(config.QueryKeyNorm && config.HeadSize != config.CacheHeadSize ? 1 + 2 * config.LayerCount : 1, Of("SimplifiedLayerNormalization"));
    }

    [Theory]
    [MemberData(nameof(Configurations))]
    public void DecodeGraph_EveryValue_IsMadeOnceAndBeforeItIsUsed(string name)
    {
        var writer = Writer(Named(name));
        foreach (var content in new[] { writer.DecodeGraph(), writer.DecodeGraph(direct: true), writer.LogitsGraph(), writer.GenAiDecodeGraph() })
        {
            var graph = new OnnxFile(content).Graph;
            var known = graph.Inputs.Select(input => input[..input.IndexOf(':', StringComparison.Ordinal)]).Concat(graph.Initializers.Select(tensor => tensor.Name)).ToList();
            Assert.Equal(known.Count, known.Distinct(StringComparer.Ordinal).Count());
            CheckOrder(graph, new HashSet<string>(known, StringComparer.Ordinal));
        }
    }

    [Fact]
    public void DecodeGraph_SlidingWindows_AreThoseOfTheLayers()
    {
        var graph = Decode(TestModel.Config with { SlidingWindows = [null, 5] }).Graph;
        Assert.Equal([-1, 5], graph.Nodes.Where(node => node.Operator == "com.microsoft.GroupQueryAttention").Select(node => node.Attribute("local_window_size").Number(3)));
    }

    [Fact]
    public void DecodeGraph_WidenedHeads_KeepTheScaleOfTheModels()
    {
        var node = Decode(TestModel.Config).Graph.Nodes.First(node => node.Operator == "com.microsoft.GroupQueryAttention");
        Assert.Equal((float)(1 / Math.Sqrt(8)), node.Attribute("scale").Single(2));
    }

    [Fact]
    public void LogitsGraph_InputsAndOutputs_AreGenAis()
    {
        var graph = new OnnxFile(Writer(TestModel.Config).LogitsGraph()).Graph;
        Assert.Equal(["input_ids:7[batch,sequence]", "attention_mask:7[batch,total_sequence]", "past_key_values.0.key:1[batch,1,past_length,16]"], graph.Inputs[..3]);
        Assert.Equal("logits:1[batch,sequence,40]", graph.Outputs[^1]);
    }

    [Theory]
    [InlineData(null, 32)]
    [InlineData(12, 12)]
    [InlineData(100, 32)]
    public void DecodeGraph_RotaryTables_CoverTheLongestSequence(int? maxSequenceLength, int positions)
    {
        var graph = new OnnxFile(Writer(TestModel.Config, maxSequenceLength).DecodeGraph()).Graph;
        Assert.Equal([positions, 8], graph.Initializers.Single(tensor => tensor.Name == "sapo.rotary_cosines").Shape);
    }

    public static TheoryData<string> Configurations() => ["qwen3 tied", "qwen2", "llama with all biases", "head size 16", "mixture"];

    private static ModelConfig Named(string name) => name switch
    {
        "qwen2" => TestModel.Config with { ModelType = "qwen2", QueryKeyNorm = false, QueryKeyValueBias = true },
        "llama with all biases" => TestModel.Config with { ModelType = "llama", QueryKeyNorm = false, QueryKeyValueBias = true, OutputBias = true, MlpBias = true, TieWordEmbeddings = false },
        "mixture" => TestModel.Config with { ModelType = "qwen3_moe", Mixture = new MixtureConfig(4, 2, 6, NormalizeTopK: true, [false, true], 0.001) },
        "head size 16" => TestModel.Config with { HeadSize = 16 },
        _ => TestModel.Config,
    };

    private static void CheckOrder(OnnxGraph graph, HashSet<string> known)
    {
        foreach (var node in graph.Nodes)
        {
            Assert.All(node.Inputs.Where(input => input.Length > 0), input => Assert.Contains(input, known));
            foreach (var branch in node.Branches) CheckOrder(branch, [.. known]);
            Assert.All(node.Outputs.Where(output => output.Length > 0), output => Assert.True(known.Add(output), $"{output} is made twice"));
        }
        Assert.All(graph.Outputs, output => Assert.Contains(output[..output.IndexOf(':', StringComparison.Ordinal)], known));
    }

    private static OnnxFile Decode(ModelConfig config) => new(Writer(config).DecodeGraph());

    private static OnnxGraphWriter Writer(ModelConfig config, int? maxSequenceLength = null) => new(config, SafetensorsWriter.FileOffsets(Headers(config)), maxSequenceLength);

    private static TensorHeader[] Headers(ModelConfig config) => [.. config.Parameters().Select(parameter => new TensorHeader(parameter.Name, WeightType.F32, parameter.Shape))];
}
