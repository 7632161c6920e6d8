using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization.Jinja;

namespace Sapo.Rollout.Tokenization;

/// <summary>One message of a conversation, as a chat template sees it: members with names, in order.</summary>
public sealed class ChatMessage
{
    private ChatMessage(TemplateMapping members) => Members = members;

    /// <summary>A message of two members.</summary>
    /// <param name="role">Who speaks: system, user, assistant or tool.</param>
    /// <param name="content">What is said.</param>
    public ChatMessage(string role, string content)
        : this(new TemplateMapping(new OrderedDictionary<string, object?>(StringComparer.Ordinal) { ["role"] = role, ["content"] = content }))
    {
    }

    /// <summary>The members as template values.</summary>
    internal TemplateMapping Members { get; }

    /// <summary>Who speaks.</summary>
    public string Role => (string)Members.Entries["role"]!;

    /// <summary>What is said, or null where the content is absent or no plain text.</summary>
    public string? Content => Members.Entries.GetValueOrDefault("content") as string;

    /// <summary>A message from JSON, with all members it has (tool_calls, reasoning_content, content in parts and so on).</summary>
    /// <param name="json">An object with a string <c>role</c>.</param>
    /// <exception cref="UserErrorException">It is no such object.</exception>
    public static ChatMessage FromJson(JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty("role", out var role) || role.ValueKind != JsonValueKind.String)
            throw new UserErrorException($"A chat message is {Shortened(json.GetRawText())}", "an object with a role and a content, such as {\"role\": \"user\", \"content\": \"Hello\"}", "Correct the message");
        return new ChatMessage((TemplateMapping)JsonText.ToValue(json)!);
    }

    private static string Shortened(string text) => text.Length <= 200 ? text : text[..200] + "...";
}
