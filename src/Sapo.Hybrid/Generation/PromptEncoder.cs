using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Generation;

/// <summary>Prompt lines to ids: messages through the model's chat template, text as it is or as a user's message, ids untouched.</summary>
public sealed class PromptEncoder
{
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly Lazy<ChatTemplate> _template;
    private readonly bool _chat;
    private readonly string? _systemMessage;

    /// <summary>An encoder for one model.</summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="folder">The model's folder, for its chat template; looked for only when one is needed.</param>
    /// <param name="chat">Plain text becomes a user's message.</param>
    /// <param name="systemMessage">Put before every conversation that has no system message; null: none.</param>
    public PromptEncoder(HuggingFaceTokenizer tokenizer, string folder, bool chat, string? systemMessage)
    {
        (_tokenizer, _chat, _systemMessage) = (tokenizer, chat, systemMessage);
        _template = new Lazy<ChatTemplate>(() => ChatTemplate.Load(folder));
    }

    /// <summary>The prompt of a line.</summary>
    /// <param name="line">The line.</param>
    /// <param name="file">Named in errors.</param>
    /// <param name="id">The prompt's id.</param>
    /// <exception cref="UserErrorException">It needs a chat template and the model has none, or the tokenizer cannot spell it.</exception>
    public Prompt Encode(PromptLine line, string file, long id)
    {
        var messages = line.Messages ?? (_chat && line.Text is { } text ? [new ChatMessage("user", text)] : null);
        int[] ids;
        string? shown;
        try
        {
            shown = messages is null ? line.Text : Render(messages);
            ids = line.TokenIds ?? _tokenizer.Encode(shown!, addSpecialTokens: messages is null);
        }
        catch (UserErrorException wrong)
        {
            throw new UserErrorException(
                $"{file}, line {line.Number}: {wrong.Message.TrimEnd('.')}", null, "Correct the line, or leave it out", wrong);
        }
        if (ids.Length == 0)
            throw new UserErrorException(
                $"{file}, line {line.Number}: the prompt has no tokens", "at least one", "Correct the line, or leave it out");
        return new Prompt { Id = id, TokenIds = ids, Text = shown, Answer = line.Answer };
    }

    private string Render(IReadOnlyList<ChatMessage> messages)
    {
        if (_systemMessage is not null && messages[0].Role != "system") messages = [new ChatMessage("system", _systemMessage), .. messages];
        return _template.Value.Render(messages, addGenerationPrompt: true);
    }
}
