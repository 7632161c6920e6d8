using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout.Tests.Tokenization;

public sealed class CharacterTokenizerFileTests
{
    private const string Characters = "0123456789+=,>";

    [Fact]
    public void Write_QuickstartCharacters_GivesTheDocumentedIds()
    {
        using var folder = new TemporaryFolder();
        var tokenizer = WriteAndLoad(folder);
        Assert.Equal([7, 10, 13, 11, 8, 14], tokenizer.Encode("47+85=", addSpecialTokens: false));
        Assert.Equal([1, 7, 10, 13, 11, 8, 14], tokenizer.Encode("47+85=", addSpecialTokens: true));
        Assert.Equal([1], tokenizer.Encode("", addSpecialTokens: true));
        Assert.Equal(Enumerable.Range(3, 14), tokenizer.Encode(Characters, addSpecialTokens: false));
        Assert.Equal(17, tokenizer.VocabularySize);
        Assert.Equal((1, 0), (tokenizer.NamedTokens.BeginId, tokenizer.NamedTokens.PadId));
        Assert.Equal([2], tokenizer.NamedTokens.EndIds);
    }

    [Fact]
    public void Decode_QuickstartSequence_GivesItsTextWithAndWithoutSpecialTokens()
    {
        using var folder = new TemporaryFolder();
        var tokenizer = WriteAndLoad(folder);
        int[] ids = [1, 7, 10, 13, 11, 8, 14, 16, 4, 6, 5, 2];
        Assert.Equal("47+85=>132", tokenizer.Decode(ids, skipSpecialTokens: true));
        Assert.Equal("<bos>47+85=>132<eos>", tokenizer.Decode(ids, skipSpecialTokens: false));
    }

    [Theory]
    [InlineData("1+a=", "'a'")]
    [InlineData("1 +1=", "0x20")]
    [InlineData("é", "0xC3")]
    public void Encode_CharacterOutsideTheSet_IsRefusedByName(string text, string named)
    {
        using var folder = new TemporaryFolder();
        var tokenizer = WriteAndLoad(folder);
        var error = Assert.Throws<UserErrorException>(() => tokenizer.Encode(text, addSpecialTokens: true));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("aa")]
    [InlineData("é")]
    [InlineData("a\n")]
    public void Write_CharactersThatCannotBeTokens_Throws(string characters)
    {
        using var folder = new TemporaryFolder();
        Assert.Throws<UserErrorException>(() => CharacterTokenizerFile.Write(folder.Path, characters, maxLength: 8));
    }

    [Fact]
    public void Write_Files_SayWhatOtherLibrariesRead()
    {
        using var folder = new TemporaryFolder();
        CharacterTokenizerFile.Write(folder.Path, Characters, maxLength: 64);
        var configuration = TokenizerGolden.Json(Path.Combine(folder.Path, "tokenizer_config.json"))!.Value;
        Assert.Equal("Qwen2Tokenizer", configuration.Text("tokenizer_class"));
        Assert.Equal(64, configuration.GetProperty("model_max_length").GetInt32());
        // Hugging Face's tokenizers number added tokens that the model does not hold behind it: the model must hold these.
        var tokenizer = TokenizerGolden.Json(Path.Combine(folder.Path, "tokenizer.json"))!.Value;
        var vocabulary = tokenizer.GetProperty("model").GetProperty("vocab");
        foreach (var token in tokenizer.GetProperty("added_tokens").EnumerateArray())
        {
            Assert.Equal(token.GetProperty("id").GetInt32(), vocabulary.GetProperty(token.Text("content")!).GetInt32());
            Assert.Equal(JsonValueKind.True, token.GetProperty("special").ValueKind);
        }
    }

    private static HuggingFaceTokenizer WriteAndLoad(TemporaryFolder folder)
    {
        CharacterTokenizerFile.Write(folder.Path, Characters, maxLength: 64);
        return HuggingFaceTokenizer.Load(folder.Path);
    }
}
