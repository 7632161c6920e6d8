using System.Text;
using System.Text.Json.Nodes;

namespace Sapo.Hybrid.Serving;

/// <summary>Writes one answer in the form of OpenAI's API: whole, or chunk by chunk.</summary>
/// <param name="request">What was asked.</param>
/// <param name="id">The answer's id.</param>
/// <param name="created">Unix time.</param>
/// <param name="model">The model's name.</param>
/// <param name="fingerprint">Names the weights: equal seeds give equal answers as long as it stays the same.</param>
/// <param name="promptTokens">Tokens of all prompts.</param>
internal sealed class AnswerJson(ServingRequest request, string id, long created, string model, string fingerprint, int promptTokens)
{
    /// <summary>One choice of a whole answer, being collected.</summary>
    internal sealed class Choice
    {
        public StringBuilder Text { get; } = new();

        public List<ServedToken> Tokens { get; } = [];

        public string FinishReason { get; set; } = "";
    }

    /// <summary>The whole answer.</summary>
    public JsonObject Whole(IReadOnlyList<Choice> choices, int completionTokens)
    {
        var answer = Head(request.IsChat ? "chat.completion" : "text_completion");
        answer["choices"] = new JsonArray([.. choices.Select((choice, index) =>
        {
            var text = choice.Text.ToString();
            var content = new JsonObject { ["role"] = "assistant", ["content"] = text, ["refusal"] = null };
            return ChoiceOf(index, "message", content, text, choice.Tokens, choice.FinishReason);
        })]);
        answer["usage"] = Usage(completionTokens);
        return answer;
    }

    /// <summary>The chunk that begins a chat's choice.</summary>
    public JsonObject RoleChunk(int choice) =>
        Chunk(ChoiceOf(choice, "delta", new JsonObject { ["role"] = "assistant", ["content"] = "" }, "", [], null));

    /// <summary>The chunk of a piece.</summary>
    public JsonObject Chunk(AnswerPiece piece)
    {
        var delta = piece.FinishReason is not null && piece.Text.Length == 0 ? new JsonObject() : new JsonObject { ["content"] = piece.Text };
        return Chunk(ChoiceOf(piece.Choice, "delta", delta, piece.Text, piece.Token is { } token ? [token] : [], piece.FinishReason));
    }

    /// <summary>The last chunk, where the client asked for the counts.</summary>
    public JsonObject UsageChunk(int completionTokens)
    {
        var chunk = Chunk();
        chunk["usage"] = Usage(completionTokens);
        return chunk;
    }

    private JsonObject Chunk(params JsonNode[] choices)
    {
        var chunk = Head(request.IsChat ? "chat.completion.chunk" : "text_completion");
        chunk["choices"] = new JsonArray(choices);
        if (request.StreamUsage) chunk["usage"] = null;
        return chunk;
    }

    private JsonObject Head(string kind) => new()
    {
        ["id"] = id, ["object"] = kind, ["created"] = created, ["model"] = model, ["system_fingerprint"] = fingerprint,
    };

    private JsonObject Usage(int completionTokens) => new()
    {
        ["prompt_tokens"] = promptTokens, ["completion_tokens"] = completionTokens, ["total_tokens"] = promptTokens + completionTokens,
    };

    private JsonObject ChoiceOf(int index, string role, JsonObject content, string text, List<ServedToken> tokens, string? finishReason)
    {
        var choice = new JsonObject { ["index"] = index };
        if (request.IsChat) choice[role] = content;
        else choice["text"] = text;
        choice["logprobs"] = !request.LogProbs || tokens.Count == 0 ? null : request.IsChat ? ChatLogProbs(tokens) : CompletionLogProbs(tokens);
        choice["finish_reason"] = finishReason;
        return choice;
    }

    private JsonObject CompletionLogProbs(List<ServedToken> tokens) => new()
    {
        ["tokens"] = new JsonArray([.. tokens.Select(token => (JsonNode)token.Text)]),
        ["token_logprobs"] = new JsonArray([.. tokens.Select(token => (JsonNode)token.LogProb)]),
        ["top_logprobs"] = request.Alternatives > 0 ? new JsonArray([.. tokens.Select(Likely)]) : null,
        ["text_offset"] = new JsonArray([.. tokens.Select(token => (JsonNode)token.TextOffset)]),
    };

    /// <summary>The most likely tokens by their text, and the sampled one too where it is none of them, as OpenAI's API has it. Of tokens that read alike the likeliest is named.</summary>
    private static JsonObject Likely(ServedToken token)
    {
        var likely = new JsonObject();
        foreach (var other in token.Likely.Append(token))
            if (!likely.ContainsKey(other.Text)) likely[other.Text] = other.LogProb;
        return likely;
    }

    private static JsonObject ChatLogProbs(List<ServedToken> tokens) => new()
    {
        ["content"] = new JsonArray([.. tokens.Select(token =>
        {
            var entry = Entry(token);
            entry["top_logprobs"] = new JsonArray([.. token.Likely.Select(Entry)]);
            return entry;
        })]),
        ["refusal"] = null,
    };

    private static JsonObject Entry(ServedToken token) => new()
    {
        ["token"] = token.Text, ["logprob"] = token.LogProb, ["bytes"] = new JsonArray([.. token.Bytes.Select(value => (JsonNode)(int)value)]),
    };
}
