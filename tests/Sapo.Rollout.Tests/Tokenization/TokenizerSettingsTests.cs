using System.Text.Json.Nodes;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Settings of tokenizer.json that the reference folders do not use, on a vocabulary of single characters; expected ids by hand.</summary>
public sealed class TokenizerSettingsTests
{
    // Ids: 3 a, 4 b, 5 c, 6 blank, 7 "1", 8 "2", and what a test adds from 9 on.
    private const string Characters = "abc 12";
    private const int Added = 9;

    [Theory]
    [InlineData("Isolated", new[] { "ab", "1", "2", "c" })]
    [InlineData("Removed", new[] { "ab", "c" })]
    [InlineData("Contiguous", new[] { "ab", "12", "c" })]
    [InlineData("MergedWithPrevious", new[] { "ab1", "2", "c" })]
    [InlineData("MergedWithNext", new[] { "ab", "1", "2c" })]
    public void SplitPreTokenizer_EveryBehavior_CutsAsNamed(string behavior, string[] expected)
    {
        var pieces = new List<TextPiece>();
        new SplitPreTokenizer(new NumericPattern(), Enum.Parse<SplitBehavior>(behavior), invert: false).Split(new TextPiece("ab12c", StartsInput: true), pieces);
        Assert.Equal(expected, pieces.Select(piece => piece.Text), StringComparer.Ordinal);
        Assert.Equal([true, .. Enumerable.Repeat(false, expected.Length - 1)], pieces.Select(piece => piece.StartsInput));
    }

    [Fact]
    public void SplitPreTokenizer_Inverted_SwapsMatchesAndTheRest()
    {
        var pieces = new List<TextPiece>();
        new SplitPreTokenizer(new NumericPattern(), SplitBehavior.Removed, invert: true).Split(new TextPiece("ab12c", StartsInput: true), pieces);
        Assert.Equal(["1", "2"], pieces.Select(piece => piece.Text), StringComparer.Ordinal);
    }

    [Theory]
    [InlineData("lstrip", "a  <x>  b", new[] { 3, Added, 6, 6, 4 })]
    [InlineData("rstrip", "a  <x>  b", new[] { 3, 6, 6, Added, 4 })]
    [InlineData("special", "a <x>b", new[] { 3, 6, Added, 4 })]
    public void Encode_AddedTokenThatTrims_SwallowsWhiteSpace(string flag, string text, int[] expected) =>
        Assert.Equal(expected, Load(root => Add(root, "<x>", flag)).Encode(text, addSpecialTokens: false));

    [Fact]
    public void Encode_SingleWordToken_MatchesOnlyBetweenOtherCharacters()
    {
        var tokenizer = Load(root => Add(root, "ab", "single_word"));
        Assert.Equal([Added], tokenizer.Encode("ab", addSpecialTokens: false));
        Assert.Equal([Added, 6, 3], tokenizer.Encode("ab a", addSpecialTokens: false));
        Assert.Equal([3, 4, 5], tokenizer.Encode("abc", addSpecialTokens: false));
        Assert.Equal([7, 3, 4], tokenizer.Encode("1ab", addSpecialTokens: false));
    }

    [Fact]
    public void Encode_SeveralAddedTokens_TakesTheLeftmostLongest()
    {
        var tokenizer = Load(root =>
        {
            Add(root, "ab", "normalized");
            Add(root, "abc", "normalized");
            Add(root, "bc", "normalized");
        });
        Assert.Equal([Added + 1], tokenizer.Encode("abc", addSpecialTokens: false));
        Assert.Equal([Added, 7, Added + 2], tokenizer.Encode("ab1bc", addSpecialTokens: false));
    }

    [Fact]
    public void Encode_NormalizedToken_IsFoundInTheNormalizedText()
    {
        var tokenizer = Load(root =>
        {
            Add(root, "1", "normalized");
            Add(root, "<2>", "special");
            root["normalizer"] = JsonNode.Parse("{\"type\": \"Replace\", \"pattern\": {\"String\": \"2\"}, \"content\": \"1\"}");
        });
        // The special token is cut out before the normalizer sees it; elsewhere 2 becomes 1, which is an added token.
        Assert.Equal([3, Added, Added + 1, Added], tokenizer.Encode("a2<2>1", addSpecialTokens: false));
    }

    [Fact]
    public void Encode_ByteLevelWithPrefixSpace_PutsOneInFront()
    {
        var tokenizer = Load(root => root["pre_tokenizer"]!["add_prefix_space"] = true);
        Assert.Equal([6, 3], tokenizer.Encode("a", addSpecialTokens: false));
        Assert.Equal([6, 3], tokenizer.Encode(" a", addSpecialTokens: false));
    }

    [Fact]
    public void Encode_Merges_FollowTheirRankNotTheirPlace()
    {
        // b c joins before a b although a b comes first in the text.
        var tokenizer = Load(root => AddMerges(root, [("b", "c"), ("a", "b"), ("a", "bc")]));
        Assert.Equal([Added + 2], tokenizer.Encode("abc", addSpecialTokens: false));
        Assert.Equal([Added + 1, 3], tokenizer.Encode("aba", addSpecialTokens: false));
        Assert.Equal([4, Added], tokenizer.Encode("bbc", addSpecialTokens: false));
    }

    [Theory]
    [InlineData(false, new[] { 3, 0, 0, 4 })]
    [InlineData(true, new[] { 3, 0, 4 })]
    public void Encode_UnknownCharacters_BecomeTheUnknownToken(bool fuse, int[] expected)
    {
        var tokenizer = Load(root =>
        {
            root["model"]!["unk_token"] = "<pad>";
            root["model"]!["fuse_unk"] = fuse;
        });
        Assert.Equal(expected, tokenizer.Encode("axyb", addSpecialTokens: false));
    }

    [Fact]
    public void Encode_UnknownCharactersWithoutAnUnknownToken_AreDroppedOnlyWhenAsked()
    {
        var tokenizer = Load(_ => { });
        Assert.Throws<Sapo.Core.UserErrorException>(() => tokenizer.Encode("axb", addSpecialTokens: false));
        Assert.Equal([3, 4], tokenizer.Encode("axb", new EncodingOptions { DropUnknownCharacters = true }));
    }

    [Fact]
    public void Encode_TemplateWithTokensOnBothSides_AddsBoth()
    {
        var tokenizer = Load(root => root["post_processor"] = JsonNode.Parse("""
            {"type": "Sequence", "processors": [
              {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<eos>", "type_id": 0}}],
               "pair": [], "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}, "<eos>": {"id": "<eos>", "ids": [2], "tokens": ["<eos>"]}}},
              {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false}]}
            """));
        Assert.Equal([1, 3, 2], tokenizer.Encode("a", addSpecialTokens: true));
        Assert.Equal([3], tokenizer.Encode("a", addSpecialTokens: false));
    }

    [Fact]
    public void NamedTokens_EndIdsOfBothFiles_AreJoinedTokenizerFirst()
    {
        using var folder = new TemporaryFolder();
        CharacterTokenizerFile.Write(folder.Path, Characters, maxLength: 8);
        folder.Write("generation_config.json", "{\"eos_token_id\": [5, 2, 4]}");
        Assert.Equal([2, 5, 4], HuggingFaceTokenizer.Load(folder.Path).NamedTokens.EndIds);
    }

    private static HuggingFaceTokenizer Load(Action<JsonNode> change)
    {
        using var folder = new TemporaryFolder();
        CharacterTokenizerFile.Write(folder.Path, Characters, maxLength: 8);
        var root = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "tokenizer.json")))!;
        change(root);
        folder.Write("tokenizer.json", root.ToJsonString());
        return HuggingFaceTokenizer.Load(folder.Path);
    }

    private static void Add(JsonNode root, string content, string flag)
    {
        var added = root["added_tokens"]!.AsArray();
        var token = new JsonObject { ["id"] = Added - 3 + added.Count, ["content"] = content, ["normalized"] = false, ["special"] = false };
        token[flag] = true;
        added.Add(token);
    }

    private static void AddMerges(JsonNode root, (string Left, string Right)[] merges)
    {
        foreach (var (left, right) in merges)
        {
            root["model"]!["vocab"]![left + right] = Added + root["model"]!["merges"]!.AsArray().Count;
            root["model"]!["merges"]!.AsArray().Add(new JsonArray(left, right));
        }
    }
}
