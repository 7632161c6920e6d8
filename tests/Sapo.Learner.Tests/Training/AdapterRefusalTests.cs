using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Training;

/// <summary>A saved adapter that is then changed, cut off or taken away: what is refused, and in which words.</summary>
public sealed class AdapterRefusalTests : IDisposable
{
    private static readonly LearnerOptions Options = new() { MiniBatches = 2 };

    private readonly TinyModel _model = new();
    private readonly string _folder;

    public AdapterRefusalTests()
    {
        _folder = Path.Combine(_model.Folder, "adapter");
        var lora = new LoraOptions { Rank = 3, Alpha = 6, TargetModules = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"] };
        using var learner = new PolicyLearner(new PolicySource(_model.Folder) { Seed = 1 }, Options with { Lora = lora }, Objective());
        learner.SaveAdapter(_folder);
    }

    [Fact]
    public void LoraOptions_LayerThatTheModelLacks_IsRefusedInsteadOfIgnored()
    {
        var lora = new LoraOptions { LayersToTransform = [0, 99] };
        var error = Assert.Throws<UserErrorException>(() => new PolicyLearner(_model.Folder, new LearnerOptions { Lora = lora }, Objective()));
        Assert.Contains("learner.lora.layersToTransform holds 99", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AdapterWithDropout_ForTraining_IsRefused()
    {
        Edit(config => config["lora_dropout"] = 0.05);
        Assert.Contains("lora_dropout is 0.05", Refusal(_folder), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("use_dora", "true")]
    [InlineData("use_qalora", "true")]
    [InlineData("use_bdlora", "{}", false)]
    [InlineData("use_bdlora", """{"nblocks": 4}""")]
    [InlineData("use_something_new", "true")]
    [InlineData("lora_bias", "true")]
    [InlineData("bias", "\"all\"")]
    [InlineData("modules_to_save", "[\"lm_head\"]")]
    [InlineData("trainable_token_indices", "[1]")]
    [InlineData("layer_replication", "[[0, 1]]")]
    [InlineData("alora_invocation_tokens", "[5]")]
    [InlineData("target_parameters", "[\"experts.gate_up_proj\"]")]
    [InlineData("kasa_config", """{"beta": 1}""")]
    [InlineData("arrow_config", """{"top_k": 1}""")]
    [InlineData("velora_config", """{"x": 1}""")]
    [InlineData("monteclora_config", """{"x": 1}""")]
    [InlineData("fan_in_fan_out", "true")]
    [InlineData("exclude_modules", "[\"v_proj\"]")]
    [InlineData("layers_pattern", "\"h\"")]
    [InlineData("init_lora_weights", "\"pissa\"")]
    [InlineData("init_lora_weights", "\"gaussian\"", false)]
    [InlineData("corda_config", """{"x": 1}""", false)]
    [InlineData("r", "0")]
    [InlineData("r", "\"four\"", true, "r is \"four\"")]
    [InlineData("bias", "7", true, "bias is 7")]
    [InlineData("target_modules", "[3]", true, "target_modules is [3]")]
    [InlineData("rank_pattern", """{"v_proj": 2.5}""", true, "rank_pattern")]
    [InlineData("layers_to_transform", "\"0\"", true, "layers_to_transform")]
    [InlineData("layers_to_transform", "1", true, "does not target model.layers.0")]
    [InlineData("peft_type", "null")]
    [InlineData("lora_alpha", "-1")]
    [InlineData("task_type", "\"SEQ_CLS\"")]
    [InlineData("task_type", "null", false)]
    [InlineData("rank_pattern", """{"(": 2}""")]
    [InlineData("alpha_pattern", """{"q_proj": 0}""")]
    [InlineData("layers_to_transform", "[-1]")]
    [InlineData("target_modules", "\"(\"", true, "target_modules is \"(\"; expected a regular expression")]
    [InlineData("target_modules", "[]")]
    [InlineData("target_modules", "[\"q_proj\", \"v_proj\", \"o_proj\", \"up_proj\", \"down_proj\", \"lm_head\"]", true, "lm_head")]
    [InlineData("target_modules", "[\"qq_proj\"]", true, "q_proj")]
    public void AdapterConfig_FieldThatChangesTheResult_IsRefusedByName(string field, string value, bool refused = true, string? mentions = null)
    {
        Edit(config => config[field] = JsonNode.Parse(value));
        if (!refused) Start(_folder).Dispose();
        else Assert.Contains(mentions ?? field, Refusal(_folder), StringComparison.Ordinal);
    }

    [Fact]
    public void Adapter_WhoseConfigurationClaimsAHugeRank_IsRefusedBeforeMemoryIsTaken()
    {
        Edit(config => config["r"] = 65536);
        Assert.Contains("rank 65536", Refusal(_folder), StringComparison.Ordinal);
        Edit(config => config["r"] = 1 << 20);
        Assert.Contains("r is 1048576", Refusal(_folder), StringComparison.Ordinal);
    }

    [Fact]
    public void AdapterConfig_CutOffOrWithAByteChanged_IsReadOrRefused()
    {
        var path = Path.Combine(_folder, AdapterConfig.FileName);
        var sound = File.ReadAllBytes(path);
        for (var place = 0; place < sound.Length; place += 7)
        {
            File.WriteAllBytes(path, sound[..place]);
            Assert.Throws<UserErrorException>(() => AdapterConfig.Read(_folder));
            foreach (var other in "0\"[z"u8)
            {
                byte[] changed = [.. sound];
                changed[place] = other;
                File.WriteAllBytes(path, changed);
                if (Record.Exception(() => AdapterConfig.Read(_folder)) is { } failure) Assert.IsType<UserErrorException>(failure);
            }
        }
    }

    [Fact]
    public void AdapterWeights_CutOff_AreRefused()
    {
        var path = Path.Combine(_folder, AdapterFolder.WeightsFile);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^4]);
        Assert.Contains("truncated", Refusal(_folder), StringComparison.Ordinal);
    }

    [Fact]
    public void AdapterFolder_WithoutFiles_IsRefused()
    {
        foreach (var folder in new[] { Path.Combine(_model.Folder, "nowhere"), _model.Folder })
            Assert.Contains("adapter", Refusal(folder), StringComparison.Ordinal);
    }

    public void Dispose() => _model.Dispose();

    private void Edit(Action<JsonNode> change)
    {
        var path = Path.Combine(_folder, AdapterConfig.FileName);
        var config = JsonNode.Parse(File.ReadAllBytes(path))!;
        change(config);
        File.WriteAllText(path, config.ToJsonString());
    }

    private string Refusal(string folder) => Assert.Throws<UserErrorException>(() => Start(folder)).Message;

    private PolicyLearner Start(string folder) => new(new PolicySource(_model.Folder) { AdapterFolder = folder }, Options, Objective());

    private IObjective Objective() => ObjectiveRegistry.Create(new ObjectiveOptions(), _model.Config.VocabSize);
}
