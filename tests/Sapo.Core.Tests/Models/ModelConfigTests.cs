using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;

namespace Sapo.Core.Tests.Models;

public sealed class ModelConfigTests
{
    private const string Llama = """
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 100, "hidden_size": 32, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 3, "intermediate_size": 44, "max_position_embeddings": 256, "rms_norm_eps": 1e-5}
        """;

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Read_LegacyLayout_GivesTheSameConfiguration()
    {
        var compared = 0;
        foreach (var folder in ModelFolders())
        {
            var legacy = Path.Combine(folder, "config.legacy.json");
            if (!File.Exists(legacy)) continue;
            AssertSame(ModelConfigReader.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")), folder), ModelConfigReader.Parse(File.ReadAllBytes(legacy), legacy), folder);
            compared++;
        }
        Golden.Report("config.json in both layouts", compared);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Write_AnyReferenceModel_IsReadBackTheSame()
    {
        var compared = 0;
        foreach (var folder in ModelFolders())
        {
            var config = ModelConfigReader.Read(folder);
            AssertSame(config, ModelConfigReader.Parse(ModelConfigWriter.Write(config), "written"), folder);
            compared++;
        }
        Golden.Report("config.json written and read back", compared);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void RotaryTable_ReferenceModels_IsTheLibrarysWithinOneRounding()
    {
        const float TwoRoundings = 2.5e-7f; // cosine of an angle that may differ by its last bit at these positions, and its own rounding near 1
        const double AngleRounding = 1.2e-7; // relative: two last bits of a 32-bit frequency times position
        var compared = 0;
        foreach (var folder in ModelFolders())
        {
            var path = Path.Combine(folder, "golden.safetensors");
            if (!File.Exists(path)) continue;
            using var golden = SafetensorsFile.Open(path);
            if (golden.Find("rope.cos") is not { } cosines) continue;
            var config = ModelConfigReader.Read(folder);
            var positions = (int)cosines.Shape[0];
            var table = RotaryTable.Compute(config, positions);
            Compare(table.Cosines, Floats(golden, "rope.cos"));
            Compare(table.Sines, Floats(golden, "rope.sin"));
            compared++;

            void Compare(float[] own, float[] reference)
            {
                var half = config.HeadSize / 2;
                for (var position = 0; position < positions; position++)
                    for (var i = 0; i < half; i++)
                    {
                        double expected = reference[position * config.HeadSize + i], found = own[position * half + i];
                        Assert.Equal(expected, reference[position * config.HeadSize + half + i]);
                        Assert.True(Math.Abs(expected - found) <= TwoRoundings + position * AngleRounding, $"{folder}: position {position}, pair {i}: {found}, reference {expected}");
                    }
            }
        }
        Golden.Report("rotary tables", compared);
    }

    [Theory]
    [InlineData("qwen2", true, false)]
    [InlineData("qwen3", true, true)]
    [InlineData("llama", true, true)]
    [InlineData("mistral", false, false)]
    public void Parse_AttentionBias_MeansWhatTheFamilyMakesOfIt(string type, bool queryKeyValue, bool output)
    {
        var config = Parse(("model_type", type), ("architectures", new JsonArray(ModelConfigReader.ArchitectureOf(type))), ("attention_bias", true));
        Assert.Equal((queryKeyValue, output), (config.QueryKeyValueBias, config.OutputBias));
    }

    [Theory]
    [InlineData("""{ "rope_theta": 5000.0, "rope_parameters": { "rope_theta": 10000.0 } }""", "rope_theta is 5000, and 10000 in rope_parameters")]
    [InlineData("""{ "rope_scaling": { "type": "linear", "factor": 2 }, "rope_parameters": { "rope_type": "default" } }""", "rope_scaling differs from rope_parameters")]
    [InlineData("""{ "rope_scaling": "linear" }""", "rope_scaling is \"linear\"")]
    [InlineData("""{ "quantization_config": true }""", "quantization_config is true")]
    [InlineData("""{ "rms_norm_eps": 1e999 }""", "rms_norm_eps is Infinity")]
    [InlineData("""{ "layer_types": ["full_attention"] }""", "layer_types has 1 entries; expected 3")]
    [InlineData("""{ "layer_types": ["full_attention", "linear_attention", "full_attention"] }""", "layer_types holds linear_attention")]
    public void Parse_MemberThatContradictsOrCannotBeUsed_IsRefusedNotPassedOver(string members, string found)
    {
        (string, JsonNode?)[] changes = [.. JsonNode.Parse(members)!.AsObject().Select(member => (member.Key, member.Value?.DeepClone()))];
        Assert.Contains(found, Assert.Throws<UserErrorException>(() => Parse(changes)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_BothRotaryLayoutsThatAgree_AreRead()
    {
        const string Scaling = """{ "rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0 }""";
        var config = Parse(("rope_theta", 5000.0), ("rope_scaling", JsonNode.Parse(Scaling)), ("rope_parameters", JsonNode.Parse(Scaling)));
        Assert.Equal((5000.0, new RopeScaling.Linear(2)), (config.RopeTheta, config.RopeScaling));
    }

    [Fact]
    public void Parse_MistralWithoutSlidingWindow_HasTheFamilysDefault()
    {
        (string, JsonNode?)[] mistral = [("model_type", "mistral"), ("architectures", new JsonArray("MistralForCausalLM"))];
        Assert.All(Parse(mistral).SlidingWindows, window => Assert.Equal(4096, window));
        mistral = [("model_type", "mistral"), ("architectures", new JsonArray("MistralForCausalLM")), ("sliding_window", null)];
        Assert.All(Parse(mistral).SlidingWindows, Assert.Null);
    }

    [Fact]
    public void Parse_QwenWindow_HoldsFromMaxWindowLayersOn()
    {
        (string, JsonNode?)[] qwen = [("model_type", "qwen2"), ("architectures", new JsonArray("Qwen2ForCausalLM")), ("sliding_window", 8), ("max_window_layers", 2)];
        Assert.Equal([null, null, null], Parse([.. qwen, ("use_sliding_window", false)]).SlidingWindows);
        Assert.Equal([null, null, 8], Parse([.. qwen, ("use_sliding_window", true)]).SlidingWindows);
    }

    [Fact]
    public void Write_LayerTypesThatAreNoSuffix_IsReadBackTheSame()
    {
        var config = Parse(("model_type", "qwen3"), ("architectures", new JsonArray("Qwen3ForCausalLM"))) with { SlidingWindows = [8, null, 8] };
        AssertSame(config, ModelConfigReader.Parse(ModelConfigWriter.Write(config), "written"), "alternating windows");
    }

    [Fact]
    public void Write_WhatTheFamilyCannotSay_IsRefused()
    {
        var llama = Parse();
        Assert.Throws<ArgumentException>(() => ModelConfigWriter.Write(llama with { SlidingWindows = [8, 8, 8] }));
        Assert.Throws<ArgumentException>(() => ModelConfigWriter.Write(llama with { QueryKeyNorm = true }));
        Assert.Throws<ArgumentException>(() => ModelConfigWriter.Write(llama with { QueryKeyValueBias = true }));
    }

    [Theory]
    [InlineData("""{"hidden_size": 0}""", "hidden_size")]
    [InlineData("""{"hidden_size": "wide"}""", "hidden_size")]
    [InlineData("""{"num_hidden_layers": 1e30}""", "num_hidden_layers")]
    [InlineData("""{"vocab_size": -4}""", "vocab_size")]
    [InlineData("""{"attention_dropout": 0.1}""", "attention_dropout")]
    [InlineData("""{"rope_scaling": {"rope_type": "yarn", "factor": 4}}""", "yarn")]
    [InlineData("""{"rope_scaling": {"rope_type": "linear"}}""", "factor")]
    [InlineData("""{"partial_rotary_factor": 0.5}""", "partial_rotary_factor")]
    [InlineData("""{"architectures": ["LlamaForSequenceClassification"]}""", "LlamaForSequenceClassification")]
    [InlineData("""{"architectures": [7]}""", "architectures")]
    [InlineData("""{"rope_theta": -1}""", "rope_theta")]
    [InlineData("""{"rms_norm_eps": -1}""", "rms_norm_eps")]
    [InlineData("""{"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 32}}""", "high_freq_factor")]
    [InlineData("""{"eos_token_id": "</s>"}""", "eos_token_id")]
    [InlineData("""{"num_hidden_layers": 2000000000}""", "num_hidden_layers")]
    public void Parse_BadMember_IsRefusedByName(string change, string named)
    {
        var json = JsonNode.Parse(Llama)!.AsObject();
        foreach (var (name, value) in JsonNode.Parse(change)!.AsObject()) json[name] = value?.DeepClone();
        var refusal = Assert.Throws<UserErrorException>(() => ModelConfigReader.Parse(Encoding.UTF8.GetBytes(json.ToJsonString()), "some/config.json"));
        Assert.Contains("some/config.json", refusal.Message, StringComparison.Ordinal);
        Assert.Contains(named, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("7")]
    [InlineData("{")]
    [InlineData("")]
    public void Parse_NoObject_IsRefused(string json) =>
        Assert.Contains("some/config.json", Assert.Throws<UserErrorException>(() => ModelConfigReader.Parse(Encoding.UTF8.GetBytes(json), "some/config.json")).Message, StringComparison.Ordinal);

    private static ModelConfig Parse(params (string Name, JsonNode? Value)[] changes)
    {
        var json = JsonNode.Parse(Llama)!.AsObject();
        foreach (var (name, value) in changes) json[name] = value?.DeepClone();
        return ModelConfigReader.Parse(Encoding.UTF8.GetBytes(json.ToJsonString()), "config.json");
    }

    private static IEnumerable<string> ModelFolders() =>
        Directory.Exists(Golden.PathOf("hf")) ? Directory.GetDirectories(Golden.PathOf("hf")).Where(folder => File.Exists(Path.Combine(folder, "config.json"))).Order(StringComparer.Ordinal) : [];

    private static void AssertSame(ModelConfig expected, ModelConfig found, string what) => Assert.True(Text(expected) == Text(found), $"{what}\n{Text(expected)}\n{Text(found)}");

    private static string Text(ModelConfig config) => JsonSerializer.Serialize(config) + config.RopeScaling;

    private static float[] Floats(SafetensorsFile file, string name)
    {
        var entry = file.Find(name)!;
        var values = new float[entry.Bytes / sizeof(float)];
        WeightConversion.ToSingle(file.Read(entry), entry.Type, values);
        return values;
    }
}
