using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Texts that transformers renders from the same templates and messages; exact.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class ChatTemplateGoldenTests
{
    /// <summary>Of the single expressions, at most this share may be refused by name; none may render as other text.</summary>
    private const double MostRefused = 0.1;

    [Fact]
    public void Render_EveryTemplateWithEveryConversation_GivesTheReferenceText()
    {
        var templates = TokenizerGolden.Shared("templates.json");
        var conversations = TokenizerGolden.Shared("conversations.json");
        var cases = 0;
        foreach (var folder in TokenizerGolden.Folders())
        {
            var tokenizer = HuggingFaceTokenizer.Load(folder);
            foreach (var row in TokenizerGolden.Rows(folder, "chat.json"))
            {
                var name = row.Text("template")!;
                var template = name == "default" ? ChatTemplate.Load(folder) : ChatTemplate.Parse(templates!.Value.Text(name)!, name, tokenizer.NamedTokens.Texts);
                var messages = Messages(conversations!.Value.GetProperty(row.Text("conversation")!));
                var where = $"{Path.GetFileName(folder)} {name} {row.Text("conversation")}";
                AssertRendered(row, () => template.Render(messages, row.GetProperty("add_generation_prompt").GetBoolean(), Variables(row)), where);
                if (row.TryGetProperty("ids", out var ids) && ids.ValueKind == JsonValueKind.Array)
                    TokenizerGoldenTests.AssertIds(row.Ids("ids"), TokenizerGoldenTests.Encode(tokenizer, row.Text("text")!, addSpecialTokens: false), where);
                cases++;
            }
        }
        Golden.Report("chat templates", cases);
    }

    [Fact]
    public void Render_SingleExpressions_GiveTheReferenceTextOrAreRefusedByName()
    {
        // The rows were made with the tokens of the folder "qwen".
        var folders = TokenizerGolden.Folders().ToArray();
        var folder = Array.Find(folders, path => Path.GetFileName(path) == "qwen") ?? folders.FirstOrDefault();
        var tokens = folder is null ? [] : NamedTokens.ReadTexts(folder);
        int cases = 0, refused = 0;
        foreach (var row in TokenizerGolden.Shared("jinja.json")?.GetProperty("rows").EnumerateArray() ?? default)
        {
            var source = row.Text("template")!;
            cases++;
            try
            {
                AssertRendered(row, () => ChatTemplate.Parse(source, "here", tokens).Render(Messages(row.GetProperty("messages")), addGenerationPrompt: true), source);
            }
            catch (UserErrorException error) when (error.Message.Contains("not supported", StringComparison.Ordinal))
            {
                refused++;
            }
        }
        Golden.Report("template expressions", cases);
        Assert.True(refused <= cases * MostRefused, $"{refused} of {cases} expressions were refused.");
    }

    [Fact]
    public void Render_SmolLM2Conversations_GiveTheReferenceText()
    {
        var json = TokenizerGolden.Json(Golden.PathOf("smollm2", "chat.json"));
        var cases = 0;
        foreach (var row in json?.GetProperty("conversations").EnumerateArray() ?? default)
        {
            var template = ChatTemplate.Parse(json!.Value.Text("chat_template")!, "chat.json", new Dictionary<string, string>(StringComparer.Ordinal));
            AssertRendered(row, () => template.Render(Messages(row.GetProperty("messages")), row.GetProperty("add_generation_prompt").GetBoolean()), $"conversation {cases++}");
        }
        Golden.Report("smollm2 chat", cases);
    }

    private static void AssertRendered(JsonElement row, Func<string> render, string where)
    {
        if (row.Text("text") is { } expected)
        {
            TokenizerGoldenTests.AssertText(expected, render(), where);
            return;
        }
        var error = Assert.Throws<UserErrorException>(render);
        Assert.Contains(row.Text("error") ?? "", error.Message, StringComparison.Ordinal);
    }

    private static ChatMessage[] Messages(JsonElement messages) => [.. messages.EnumerateArray().Select(ChatMessage.FromJson)];

    /// <summary>Everything in a row that is not about the row itself is a variable of the template.</summary>
    private static Dictionary<string, JsonElement> Variables(JsonElement row) => row.EnumerateObject()
        .Where(member => member.Name is not ("template" or "conversation" or "add_generation_prompt" or "text" or "ids" or "error"))
        .ToDictionary(member => member.Name, member => member.Value, StringComparer.Ordinal);
}
