// One line of a prompts file. Accepted, one of:
//   {"prompt": "text"}    {"question": "text"}    {"messages": [{"role": "user", "content": "text"}, ...]}    {"token_ids": [1, 2]}
// each with an optional "answer" (a text or a number). Other members are left alone: data sets carry many.
using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Generation;

/// <summary>One problem as a file gives it: exactly one of text, messages and ids.</summary>
public sealed record PromptLine
{
    /// <summary>Line number in the file, from 1.</summary>
    public required int Number { get; init; }

    /// <summary>Plain text.</summary>
    public string? Text { get; init; }

    /// <summary>A conversation for the model's chat template.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Ids, used as they are.</summary>
    public int[]? TokenIds { get; init; }

    /// <summary>The reference answer, if there is one.</summary>
    public string? Answer { get; init; }

    /// <summary>Reads one line.</summary>
    /// <exception cref="UserErrorException">It is not such an object; the message names file and line.</exception>
    public static PromptLine Parse(string json, string file, int number)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var line = document.RootElement;
            if (line.ValueKind != JsonValueKind.Object) throw Error(file, number, $"it holds {line.ValueKind}, not an object");
            var found = new PromptLine
            {
                Number = number,
                Text = TextOf(line, "prompt") ?? TextOf(line, "question"),
                Messages = line.TryGetProperty("messages", out var messages)
                    ? [.. messages.EnumerateArray().Select(ChatMessage.FromJson)]
                    : null,
                TokenIds = line.TryGetProperty("token_ids", out var ids) ? [.. ids.EnumerateArray().Select(id => id.GetInt32())] : null,
                Answer = line.TryGetProperty("answer", out var answer) ? AnswerOf(answer) : null,
            };
            return found.Checked(file);
        }
        catch (UserErrorException wrong) when (!wrong.Message.StartsWith(file, StringComparison.Ordinal))
        {
            throw Error(file, number, wrong.Message.TrimEnd('.'), wrong);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException or FormatException)
        {
            throw Error(file, number, broken.Message.TrimEnd('.'), broken);
        }
    }

    private static string? TextOf(JsonElement line, string name) => line.TryGetProperty(name, out var value) ? value.GetString() : null;

    private static string? AnswerOf(JsonElement answer) => answer.ValueKind switch
    {
        JsonValueKind.Number => answer.GetRawText(),
        JsonValueKind.Null => null,
        _ => answer.GetString(),
    };

    private static UserErrorException Error(string file, int number, string what, Exception? inner = null) =>
        new(
            $"{file}, line {number}: {what}", "an object with prompt, question, messages or token_ids", "Correct the line, or leave it out",
            inner);

    private PromptLine Checked(string file)
    {
        var kinds = (Text is null ? 0 : 1) + (Messages is null ? 0 : 1) + (TokenIds is null ? 0 : 1);
        if (kinds == 0) throw Error(file, Number, "there is no prompt in it");
        if (kinds > 1) throw Error(file, Number, "it holds more than one of prompt, messages and token_ids");
        if (Text is { Length: 0 } || Messages is { Count: 0 } || TokenIds is { Length: 0 })
            throw Error(file, Number, "the prompt is empty");
        return this;
    }
}
