using System.IO.Compression;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>The real SmolLM2 tokenizer (49,152 tokens; its files are in tests/data) against Hugging Face's tokenizers.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class SmolLM2GoldenTests
{
    [Fact]
    public void Encode_EveryString_GivesTheReferenceIdsAndBack()
    {
        var tokenizer = Tokenizer();
        var cases = 0;
        foreach (var row in TokenizerGolden.Json(Golden.PathOf("smollm2", "tokenizer.json"))?.GetProperty("strings").EnumerateArray() ?? default)
        {
            var text = row.Text("text")!;
            var ids = row.Ids("ids");
            TokenizerGoldenTests.AssertIds(ids, TokenizerGoldenTests.Encode(tokenizer, text, addSpecialTokens: false), TokenizerGoldenTests.Shown(text));
            Assert.Equal(row.GetProperty("pieces").EnumerateArray().Select(piece => piece.GetString()), ids.Select(tokenizer.TokenText), StringComparer.Ordinal);
            var decoded = row.Text("decoded") ?? text;
            TokenizerGoldenTests.AssertText(decoded, tokenizer.Decode(ids, skipSpecialTokens: false), TokenizerGoldenTests.Shown(text));
            TokenizerGoldenTests.AssertText(row.Text("decoded_without_specials") ?? decoded, tokenizer.Decode(ids, skipSpecialTokens: true), TokenizerGoldenTests.Shown(text));
            cases++;
        }
        Golden.Report("smollm2 tokenizer", cases);
    }

    [Fact]
    public void Encode_TextOfEveryChat_GivesTheReferenceIds()
    {
        var tokenizer = Tokenizer();
        var cases = 0;
        foreach (var row in TokenizerGolden.Json(Golden.PathOf("smollm2", "chat.json"))?.GetProperty("conversations").EnumerateArray() ?? default)
        {
            var text = row.Text("text")!;
            TokenizerGoldenTests.AssertIds(row.Ids("ids"), TokenizerGoldenTests.Encode(tokenizer, text, addSpecialTokens: true), TokenizerGoldenTests.Shown(text));
            cases++;
        }
        Golden.Report("smollm2 chat ids", cases);
    }

    [Fact]
    public void RenderAndEncode_EveryProblem_GivesTheReferenceTextAndIds()
    {
        var tokenizer = Tokenizer();
        var template = ChatTemplate.Load(Data);
        var cases = 0;
        foreach (var row in TokenizerGolden.Json(Golden.PathOf("smollm2", "tasks.json"))?.GetProperty("problems").EnumerateArray() ?? default)
        {
            var text = tokenizer.Decode(row.Ids("ids"), skipSpecialTokens: false);
            if (row.TryGetProperty("messages", out var messages))
            {
                // Only some problems come with their messages.
                Assert.Equal(row.Text("text"), text);
                TokenizerGoldenTests.AssertText(text, template.Render([.. messages.EnumerateArray().Select(ChatMessage.FromJson)], addGenerationPrompt: true), $"problem {cases}");
            }
            TokenizerGoldenTests.AssertIds(row.Ids("ids"), tokenizer.Encode(text, addSpecialTokens: false), $"problem {cases}");
            cases++;
        }
        Golden.Report("smollm2 problems", cases);
    }

    private static string Data => Path.Combine(Golden.RepositoryRoot(), "tests", "data", "SmolLM2-135M-Instruct");

    /// <summary>The tokenizer from tests/data, whose tokenizer.json is stored compressed.</summary>
    private static HuggingFaceTokenizer Tokenizer()
    {
        using var folder = new TemporaryFolder();
        using (var packed = new GZipStream(File.OpenRead(Path.Combine(Data, "tokenizer.json.gz")), CompressionMode.Decompress))
        using (var unpacked = File.Create(Path.Combine(folder.Path, "tokenizer.json")))
            packed.CopyTo(unpacked);
        foreach (var file in Directory.GetFiles(Data, "*.json")) File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        return HuggingFaceTokenizer.Load(folder.Path);
    }
}
