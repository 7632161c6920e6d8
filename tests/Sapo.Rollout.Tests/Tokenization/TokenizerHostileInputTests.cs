using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Text and files that are meant to break a tokenizer, on every tokenizer of the reference set.</summary>
public sealed class TokenizerHostileInputTests
{
    private const int Seed = 20260;

    public static TheoryData<string> Folders() => [.. TokenizerGolden.Folders()];

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_LoneSurrogates_CountAsTheReplacementCharacter(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        foreach (var (broken, repaired) in new[] { ("a\uD800b", "a\uFFFDb"), ("\uDC00", "\uFFFD"), ("x\uDBFF", "x\uFFFD"), ("\uD83D\uDE00\uD83D", "\uD83D\uDE00\uFFFD") })
            Assert.Equal(tokenizer.Encode(repaired, addSpecialTokens: true), tokenizer.Encode(broken, addSpecialTokens: true));
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_MegabyteOfText_RoundTripsWithoutQuadraticWork(string folder)
    {
        // Quadratic work on a million characters would take hours: finishing at all is the test.
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        foreach (var text in new[]
        {
            new string('a', 1_000_000), "x" + new string(' ', 200_000), string.Concat(Enumerable.Repeat("ab", 100_000)),
            string.Concat(Enumerable.Repeat("\U00020BB7", 100_000)), "x" + new string('\n', 200_000), string.Concat(Enumerable.Repeat("<|im_", 50_000)), new string('=', 200_000),
        })
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: false), skipSpecialTokens: false));
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_ManyCombiningMarks_Ends(string folder)
    {
        // One run of marks in descending classes: the worst case for canonical ordering.
        var text = "a" + string.Concat(Enumerable.Repeat("\u0301\u0323\u0334", 30_000));
        Assert.NotEmpty(HuggingFaceTokenizer.Load(folder).Encode(text, addSpecialTokens: false));
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Decode_MegabyteOfRandomIds_EqualsTheStreamedText(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        var random = new Random(Seed);
        int[] known = [.. Enumerable.Range(0, tokenizer.VocabularySize).Where(id => tokenizer.TokenText(id) is not null)];
        int[] ids = [.. Enumerable.Range(0, 300_000).Select(_ => known[random.Next(known.Length)])];
        var whole = tokenizer.Decode(ids, skipSpecialTokens: true);
        var stream = tokenizer.CreateStreamingDecoder(skipSpecialTokens: true);
        var streamed = new StringBuilder();
        foreach (var id in ids) streamed.Append(stream.Append(id));
        streamed.Append(stream.Flush());
        // With byte fallback a run that turns malformed late is rewritten as a whole only by Decode; see StreamingDecoder.
        var isByteLevel = File.ReadAllText(Path.Combine(folder, "tokenizer.json")).Contains("\"ByteLevel\"", StringComparison.Ordinal);
        if (isByteLevel) TokenizerGoldenTests.AssertText(whole, streamed.ToString(), folder);
        else Assert.NotEqual(0, streamed.Length);
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_RandomText_RoundTripsInNormalizationFormC(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        var random = new Random(Seed);
        for (var round = 0; round < 300; round++)
        {
            var text = CanonicalComposition.Normalize(RandomText(random));
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, new EncodingOptions { ParseSpecialTokens = false }), skipSpecialTokens: false));
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: true), skipSpecialTokens: true));
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_SpecialTokensNotParsed_GivesNoneOfTheirIds(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        var specials = Enumerable.Range(0, tokenizer.VocabularySize).Where(tokenizer.IsSpecial).ToArray();
        Assert.NotEmpty(specials);
        foreach (var special in specials)
        {
            var text = $"x{tokenizer.TokenText(special)}y";
            Assert.Contains(special, tokenizer.Encode(text, addSpecialTokens: false));
            var plain = tokenizer.Encode(text, new EncodingOptions { ParseSpecialTokens = false });
            Assert.DoesNotContain(special, plain);
            Assert.Equal(text, tokenizer.Decode(plain, skipSpecialTokens: true));
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Decode_IdOutsideTheVocabulary_ReadsAsTheReplacementCharacter(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        int[] word = tokenizer.Encode("so", addSpecialTokens: false);
        foreach (var id in new[] { -1, tokenizer.VocabularySize, int.MaxValue })
        {
            int[] ids = [.. word, id, id, .. word];
            var text = tokenizer.Decode(ids, skipSpecialTokens: true);
            Assert.Equal(2, text.Count(character => character == '\uFFFD'));
            var decoder = tokenizer.CreateStreamingDecoder(skipSpecialTokens: true);
            Assert.Equal(text, string.Concat(ids.Select(decoder.Append)) + decoder.Flush());
            Assert.Throws<UserErrorException>(() => tokenizer.TokenBytes(id).Length);
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Encode_FromManyThreads_GivesTheSameIds(string folder)
    {
        var tokenizer = HuggingFaceTokenizer.Load(folder);
        var random = new Random(Seed);
        string[] texts = [.. Enumerable.Range(0, 200).Select(_ => RandomText(random))];
        var expected = texts.Select(text => HuggingFaceTokenizer.Load(folder).Encode(text, addSpecialTokens: true)).Take(20).ToArray();
        var found = texts.AsParallel().AsOrdered().WithDegreeOfParallelism(4).Select(text => tokenizer.Encode(text, addSpecialTokens: true)).ToArray();
        for (var i = 0; i < expected.Length; i++) Assert.Equal(expected[i], found[i]);
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Load_TruncatedFile_NamesTheFile(string folder)
    {
        var content = File.ReadAllText(Path.Combine(folder, "tokenizer.json"));
        using var broken = new TemporaryFolder();
        foreach (var length in new[] { 0, 1, content.Length / 2, content.Length - 3 })
        {
            var path = broken.Write("tokenizer.json", content[..length]);
            Assert.Contains(path, Assert.Throws<UserErrorException>(() => HuggingFaceTokenizer.Load(broken.Path)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Load_FolderWithoutTokenizer_NamesTheFile()
    {
        using var empty = new TemporaryFolder();
        Assert.Contains("tokenizer.json", Assert.Throws<UserErrorException>(() => HuggingFaceTokenizer.Load(empty.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("model.type", "\"Unigram\"", "Unigram")]
    [InlineData("model.type", "\"WordPiece\"", "WordPiece")]
    [InlineData("model.dropout", "0.1", "dropout")]
    [InlineData("model.end_of_word_suffix", "\"</w>\"", "</w>")]
    [InlineData("model.unk_token", "\"<nowhere>\"", "<nowhere>")]
    [InlineData("model.vocab", "{\"a\": -1}", "model.vocab.a")]
    [InlineData("model.vocab", "[1]", "model.vocab")]
    [InlineData("model.merges", "[\"a\"]", "model.merges[0]")]
    [InlineData("model.merges", "[\"zzz yyy\"]", "zzz")]
    [InlineData("normalizer", "{\"type\": \"NFKC\"}", "NFKC")]
    [InlineData("normalizer", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"\"}", "regular expression")]
    [InlineData("pre_tokenizer", "{\"type\": \"BertPreTokenizer\"}", "BertPreTokenizer")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\w+\"}, \"behavior\": \"Isolated\"}", "\\w")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"1\"}", "behavior 1")]
    [InlineData("pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"sometimes\"}", "sometimes")]
    [InlineData("post_processor", "{\"type\": \"RobertaProcessing\"}", "RobertaProcessing")]
    [InlineData("decoder", "{\"type\": \"WordPiece\"}", "WordPiece")]
    [InlineData("decoder", "null", "decoder")]
    [InlineData("added_tokens", "[{\"id\": 1}]", "content")]
    public void Load_UnsupportedOrBrokenPart_IsRefusedByName(string place, string json, string named)
    {
        using var folder = new TemporaryFolder();
        CharacterTokenizerFile.Write(folder.Path, "ab", maxLength: 8);
        var path = Path.Combine(folder.Path, "tokenizer.json");
        var root = JsonNode.Parse(File.ReadAllText(path))!;
        var names = place.Split('.');
        var parent = names.SkipLast(1).Aggregate(root, (node, name) => node[name]!);
        parent[names[^1]] = JsonNode.Parse(json);
        folder.Write("tokenizer.json", root.ToJsonString());
        var error = Assert.Throws<UserErrorException>(() => HuggingFaceTokenizer.Load(folder.Path));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizer_config.json", "{\"eos_token\": \"<nowhere>\"}", "<nowhere>")]
    [InlineData("tokenizer_config.json", "{\"eos_token\": 3}", "eos_token")]
    [InlineData("tokenizer_config.json", "[]", "array")]
    [InlineData("generation_config.json", "{\"eos_token_id\": [2, 999]}", "999")]
    [InlineData("special_tokens_map.json", "{", "special_tokens_map.json")]
    public void Load_BrokenFileBesideTheTokenizer_IsRefusedByName(string name, string json, string named)
    {
        using var folder = new TemporaryFolder();
        CharacterTokenizerFile.Write(folder.Path, "ab", maxLength: 8);
        folder.Write(name, json);
        var error = Assert.Throws<UserErrorException>(() => HuggingFaceTokenizer.Load(folder.Path));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains(name, error.Message, StringComparison.Ordinal);
    }

    /// <summary>Characters of every plane, most of them below U+0250, never a surrogate; it never begins with a space, which SentencePiece decoders drop.</summary>
    private static string RandomText(Random random)
    {
        var text = new StringBuilder("x");
        for (var i = random.Next(60); i > 0; i--)
        {
            var codePoint = random.Next(4) switch { 0 => random.Next(0x110000), 1 => random.Next(0x3000), _ => random.Next(0x250) };
            if (Rune.IsValid(codePoint) && codePoint != 0x2581) text.Append(new Rune(codePoint).ToString());
        }
        return text.ToString();
    }
}
