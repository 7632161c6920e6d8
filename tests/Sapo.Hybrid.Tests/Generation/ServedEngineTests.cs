using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;
using Sapo.Sync;

namespace Sapo.Hybrid.Tests.Generation;

public sealed class ServedEngineTests
{
    [Theory]
    [InlineData(1000, 24, 1024)]
    [InlineData(3, 4, 256)] // never less than what a precision is measured with
    [InlineData(5, int.MaxValue, int.MaxValue)]
    public void Sized_NoLengthGiven_IsWhatThePromptsNeed(int longest, int maxNewTokens, int expected)
    {
        Prompt[] prompts = [Of(1), Of(longest), Of(2)];
        Assert.Equal(expected, ServedEngine.Sized(new EngineOptions(), prompts, maxNewTokens).MaxSequenceLength);
        Assert.Equal(77, ServedEngine.Sized(new EngineOptions { MaxSequenceLength = 77 }, prompts, maxNewTokens).MaxSequenceLength);
        Assert.Equal(Math.Max(256, maxNewTokens), ServedEngine.Sized(new EngineOptions(), [], maxNewTokens).MaxSequenceLength);
    }

    [Fact]
    public void Open_FolderThatCannotBeImported_IsLeftAsItWas()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceFolder.Create(folder.Path, new ModelConfig { ModelType = "qwen3", VocabSize = 16, HiddenSize = 16, LayerCount = 1, HeadCount = 1, KeyValueHeadCount = 1, HeadSize = 16, IntermediateSize = 16, MaxPositions = 32, QueryKeyNorm = true, SlidingWindows = [null] }, seed: 1);
        File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        var before = Directory.GetFileSystemEntries(folder.Path);
        Assert.Throws<UserErrorException>(() => ServedModel.Open(folder.Path, Precision.Fp32, _ => { }));
        Assert.Equal(before, Directory.GetFileSystemEntries(folder.Path));
    }

    private static Prompt Of(int length) => new() { Id = length, TokenIds = new int[length] };
}
