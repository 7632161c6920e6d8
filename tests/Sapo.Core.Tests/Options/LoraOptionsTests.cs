using System.Text;
using Sapo.Core.Options;

namespace Sapo.Core.Tests.Options;

/// <summary>Which layers are adapted, and how: PEFT's rules.</summary>
public sealed class LoraOptionsTests
{
    private const string Query = "model.layers.1.self_attn.q_proj", Value = "model.layers.1.self_attn.v_proj", Expert = "model.layers.0.mlp.experts.3.up_proj";

    [Theory]
    [InlineData("q_proj", true)]
    [InlineData("self_attn.q_proj", true)]
    [InlineData("layers.1.self_attn.q_proj", true)]
    [InlineData(Query, true)]
    [InlineData("proj", false)] // a whole part of the name, or none
    [InlineData("_proj", false)]
    [InlineData("q_proj.", false)]
    [InlineData("self_attn", false)]
    [InlineData(".*q_proj", false)] // a name, not an expression
    public void IsTarget_Name_FitsTheEndInWholeParts(string target, bool fits) =>
        Assert.Equal(fits, new LoraOptions { TargetModules = [target] }.IsTarget(Query));

    [Theory]
    [InlineData(@".*\.q_proj", true)]
    [InlineData("q_proj", false)] // the whole name, or none
    [InlineData(@"model\.layers\.1\..*|x", true)]
    [InlineData(@".*\.(k|v)_proj", false)]
    public void IsTarget_Expression_FitsTheWholeName(string pattern, bool fits) => Assert.Equal(fits, new LoraOptions { TargetPattern = pattern }.IsTarget(Query));

    [Fact]
    public void IsTarget_Layers_AreTheLastNumberInTheName()
    {
        var first = new LoraOptions { LayersToTransform = [0] };
        Assert.False(first.IsTarget(Query));
        Assert.True(first.IsTarget("model.layers.0.self_attn.q_proj"));
        Assert.False(first.IsTarget(Expert)); // of an expert its own number, as in PEFT
        Assert.True((first with { LayersToTransform = [3] }).IsTarget(Expert));
        Assert.True((first with { TargetModules = [Query] }).IsTarget(Query)); // a name in full is meant
    }

    [Fact]
    public void IsTarget_Defaults_AreEveryLayerOfAttentionAndMlpButNotTheRouter()
    {
        var options = new LoraOptions();
        Assert.All(new[] { Query, Value, Expert, "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.down_proj" }, module => Assert.True(options.IsTarget(module)));
        Assert.All(new[] { "model.layers.0.mlp.gate", "lm_head", "model.embed_tokens", "model.layers.0.input_layernorm" }, module => Assert.False(options.IsTarget(module)));
    }

    [Theory]
    [InlineData("""{ }""", null)] // the default names are not the user's
    [InlineData("""{ "targetModules": ["q_proj", "v_proj"], "layersToTransform": [1], "rankPattern": { "v_proj": 2 } }""", null)]
    [InlineData("""{ "targetModules": ["q_proj", "vproj"] }""", "targetModules holds vproj")]
    [InlineData("""{ "targetModules": ["q_proj"], "layersToTransform": [1, 7] }""", "layersToTransform holds 7")]
    [InlineData("""{ "targetModules": ["q_proj"], "rankPattern": { "v_proj": 2 } }""", "rankPattern holds v_proj")]
    [InlineData("""{ "targetModules": ["q_proj"], "alphaPattern": { "q_proj": 2, "q": 2 } }""", "alphaPattern holds q")]
    public void FirstUnused_Options_NamesWhatFitsNoLayer(string options, string? unused) => Assert.Equal(unused, Parse(options).FirstUnused([Query, Value]));

    [Fact]
    public void Of_Patterns_FirstThatFitsTheEndCounts()
    {
        var options = Parse("""{ "rank": 8, "alpha": 16, "rankPattern": { "layers.1.self_attn.v_proj": 2, "v_proj": 3, "layers\\.\\d+\\.mlp.*": 4 }, "alphaPattern": { "q_proj|v_proj": 5 } }""");
        Assert.Equal((2, 5), options.Of(Value));
        Assert.Equal((3, 5), options.Of("model.layers.0.self_attn.v_proj"));
        Assert.Equal((8, 5), options.Of(Query));
        Assert.Equal((4, 16), options.Of(Expert));
        Assert.Equal((8, 16), options.Of("model.layers.1.self_attn.k_proj"));
        Assert.Equal((8, 16), options.Of("model.layers.1.self_attn.xv_proj")); // from a dot on, or from the beginning
    }

    [Fact]
    public void Scaling_PlainAndStabilised_DivideByRankOrItsRoot()
    {
        Assert.Equal(2, new LoraOptions().Scaling(rank: 4, alpha: 8));
        Assert.Equal(4, new LoraOptions { UseRslora = true }.Scaling(rank: 4, alpha: 8));
    }

    [Fact]
    public void IsTarget_ExpressionThatBacktracksForEver_IsOneMessage()
    {
        var options = new LoraOptions { TargetPattern = "(m|o|d|e|l|.)*(m|o|d|e|l|.)*(m|o|d|e|l|.)*!" };
        Assert.Contains("too long", Assert.Throws<UserErrorException>(() => options.IsTarget(Query + "." + Query)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RunFile_WithAdapterSection_IsReadBackTheSame()
    {
        var options = Run("""{ "rank": 4, "targetPattern": ".*\\.mlp\\..*", "rankPattern": { "b": 2, "a": 3 } }""");
        var again = RunOptionsReader.Parse(Encoding.UTF8.GetBytes(RunOptionsReader.Resolved(options)), "again");
        Assert.Null(RunOptionsReader.FirstDifference(options, again));
        Assert.Equal(["b", "a"], again.Learner.Lora!.RankPattern.Keys);
    }

    private static LoraOptions Parse(string lora) => Run(lora).Learner.Lora!;

    private static RunOptions Run(string lora) => RunOptionsReader.Parse(
        Encoding.UTF8.GetBytes($$"""{ "name": "x", "model": { "create": {} }, "task": { "kind": "addition" }, "steps": 3, "learner": { "lora": {{lora}} } }"""), "run");
}
