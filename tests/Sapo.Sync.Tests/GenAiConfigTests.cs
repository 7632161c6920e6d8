using System.Text.Json.Nodes;
using Sapo.Core.Models;

namespace Sapo.Sync.Tests;

public sealed class GenAiConfigTests
{
    [Fact]
    public void Write_Model_NamesWhatTheRuntimeNeeds()
    {
        var model = Model(TestModel.Config);
        Assert.Equal(("qwen3", 24, 40), ((string)model["type"]!, (int)model["context_length"]!, (int)model["vocab_size"]!));
        Assert.Equal(("model.onnx", 16), ((string)model["decoder"]!["filename"]!, (int)model["decoder"]!["head_size"]!)); // the size of the caches, not of the heads
        Assert.Equal([3], model["eos_token_id"]!.AsArray().Select(id => (int)id!));
    }

    [Fact]
    public void Write_Mixture_IsOfATypeThatGenAiKnows() =>
        Assert.Equal("qwen3", (string)Model(TestModel.Config with { ModelType = "qwen3_moe" })["type"]!);

    [Theory]
    [InlineData(null, 3)] // the first end token
    [InlineData(7, 7)]
    [InlineData(40, 3)] // outside the vocabulary: GenAI would refuse the folder
    [InlineData(-1, 3)]
    public void Write_PadToken_IsOneOfTheVocabulary(int? pad, int written) =>
        Assert.Equal(written, (int)Model(TestModel.Config with { PadTokenId = pad })["pad_token_id"]!);

    [Fact]
    public void Write_EndTokensOutsideTheVocabulary_AreLeftOut()
    {
        Assert.Equal([3], Model(TestModel.Config with { EndTokenIds = [3, 400] })["eos_token_id"]!.AsArray().Select(id => (int)id!));
        Assert.Null(Model(TestModel.Config with { EndTokenIds = [] })["eos_token_id"]);
    }

    private static JsonNode Model(ModelConfig config) => JsonNode.Parse(GenAiConfig.Write(config, contextLength: 24))!["model"]!;
}
