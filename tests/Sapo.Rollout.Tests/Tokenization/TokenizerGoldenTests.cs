using System.Text.Json;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Ids and texts of Hugging Face's tokenizers on the same tokenizer.json files; exact.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class TokenizerGoldenTests
{
    [Fact]
    public void Encode_EveryStringOfEveryTokenizer_GivesTheReferenceIds()
    {
        var strings = Strings();
        foreach (var (tokenizer, where, row) in TokenizerGolden.AllRows("encode.json"))
        {
            var text = strings[row.GetProperty("i").GetInt32()];
            var ids = row.Ids("ids");
            var withSpecial = row.TryGetProperty("ids_with_special", out var other) && other.ValueKind == JsonValueKind.Array ? row.Ids("ids_with_special") : ids;
            AssertIds(ids, Encode(tokenizer, text, addSpecialTokens: false), $"{where}: {Shown(text)}");
            AssertIds(withSpecial, Encode(tokenizer, text, addSpecialTokens: true), $"{where} with special tokens: {Shown(text)}");
        }
    }

    [Fact]
    public void Decode_TheEncodedStrings_GivesTheReferenceText()
    {
        var strings = Strings();
        foreach (var (tokenizer, where, row) in TokenizerGolden.AllRows("encode.json"))
        {
            var decoded = row.Text("decoded") ?? strings[row.GetProperty("i").GetInt32()];
            AssertText(decoded, tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: false), where);
            AssertText(row.Text("decoded_skip") ?? decoded, tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: true), where + " skipping special tokens");
        }
    }

    [Fact]
    public void Decode_ArbitraryIds_GivesTheReferenceText()
    {
        foreach (var (tokenizer, where, row) in TokenizerGolden.AllRows("decode.json"))
        {
            AssertText(row.Text("text")!, tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: false), where);
            AssertText(row.Text("text_skip")!, tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: true), where + " skipping special tokens");
        }
    }

    [Fact]
    public void StreamingDecoder_EveryRow_HandsOutTheReferenceChunks()
    {
        foreach (var (tokenizer, where, row) in TokenizerGolden.AllRows("stream.json"))
        {
            var ids = row.Ids("ids");
            var chunks = row.GetProperty("chunks").EnumerateArray().ToArray();
            var decoder = tokenizer.CreateStreamingDecoder(skipSpecialTokens: true);
            var all = "";
            var referenceGaveUp = false;
            for (var k = 0; k < ids.Length; k++)
            {
                var chunk = decoder.Append(ids[k]);
                all += chunk;
                // Where the reference's own decoder stops with an error, it says nothing about the rest of the row.
                referenceGaveUp |= k < chunks.Length && chunks[k].ValueKind == JsonValueKind.Object;
                if (!referenceGaveUp) AssertText(chunks[k].ValueKind == JsonValueKind.Null ? "" : chunks[k].GetString()!, chunk, $"{where} after id {k}");
            }
            if (!referenceGaveUp) AssertText(row.Text("decoded_skip")!, all + decoder.Flush(), where + " as a whole");
        }
    }

    /// <summary>Characters without a token are left out by the reference, so they are here.</summary>
    internal static int[] Encode(HuggingFaceTokenizer tokenizer, string text, bool addSpecialTokens) =>
        tokenizer.Encode(text, new EncodingOptions { AddSpecialTokens = addSpecialTokens, DropUnknownCharacters = true });

    internal static void AssertIds(int[] expected, int[] actual, string where) =>
        Assert.True(expected.AsSpan().SequenceEqual(actual), $"{where}: expected [{string.Join(' ', expected)}], found [{string.Join(' ', actual)}]");

    internal static void AssertText(string expected, string actual, string where) =>
        Assert.True(string.Equals(expected, actual, StringComparison.Ordinal), $"{where}: expected {Shown(expected)}, found {Shown(actual)}");

    internal static string Shown(string text) => JsonSerializer.Serialize(text.Length <= 2000 ? text : text[..2000]);

    private static string[] Strings()
    {
        var json = TokenizerGolden.Shared("strings.json");
        return json is null ? [] : [.. json.Value.GetProperty("strings").EnumerateArray().Select(row => row.Text("text")!)];
    }
}
