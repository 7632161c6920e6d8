// A request's JSON -> ServingRequest. Members as OpenAI's API defines them, with some of vLLM's beside them (top_k, min_p,
// repetition_penalty, chat_template_kwargs). What the model decides (context, vocabulary, template) is checked later, by those who know it.
using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Serving;

/// <summary>Reads requests.</summary>
public static class ServingRequestReader
{
    /// <summary>Most completions per prompt.</summary>
    public const int MaxSamples = 128;

    private const int DefaultCompletionTokens = 16; // of OpenAI's completions; a chat may fill the context
    private const double MaxTemperature = 100; // above, logits of any model are noise; OpenAI's own limit of 2 is too low for experiments

    private const double MaxPenalty = 2, MaxRepetitionPenalty = 100;
    private const int MaxLogProbs = 5, MaxTopLogProbs = 20; // OpenAI's limits for completions and chats

    private static readonly string[] Both =
    [
        "model", "n", "max_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
        "seed", "stop", "logprobs", "stream", "stream_options",
    ];

    private static readonly string[] CompletionMembers = [.. Both, "prompt"];
    private static readonly string[] ChatMembers = [.. Both, "messages", "max_completion_tokens", "top_logprobs", "chat_template_kwargs"];

    /// <summary>Reads a request.</summary>
    /// <param name="request">The JSON.</param>
    /// <param name="chat">Whether it asks for a chat completion.</param>
    /// <param name="model">The name of the model served; a request may leave it out.</param>
    /// <exception cref="ServingException">What is wrong with it.</exception>
    public static ServingRequest Read(JsonElement request, bool chat, string model)
    {
        try
        {
            var members = new RequestMembers(request, chat ? ChatMembers : CompletionMembers);
            CheckModel(members, model);
            return ReadChecked(members, chat);
        }
        catch (InvalidOperationException broken) // a text that is no valid Unicode
        {
            throw ServingException.BadRequest(broken.Message, cause: broken);
        }
    }

    private static ServingRequest ReadChecked(RequestMembers members, bool chat)
    {
        var seed = members.Whole("seed", long.MinValue, long.MaxValue);
        var sampling = new SamplingOptions
        {
            Temperature = members.Number("temperature", 0, MaxTemperature) ?? 1,
            TopP = members.Positive("top_p", 1) ?? 1,
            TopK = Math.Max(0, (int)(members.Whole("top_k", -1, int.MaxValue) ?? 0)),
            MinP = members.Number("min_p", 0, 1) ?? 0,
            FrequencyPenalty = members.Number("frequency_penalty", -MaxPenalty, MaxPenalty) ?? 0,
            PresencePenalty = members.Number("presence_penalty", -MaxPenalty, MaxPenalty) ?? 0,
            RepetitionPenalty = members.Positive("repetition_penalty", MaxRepetitionPenalty) ?? 1,
            MaxNewTokens = MaxTokens(members, chat),
            Seed = seed ?? 0,
            StopStrings = Stops(members),
        };
        var (logProbs, alternatives) = LogProbs(members, chat);
        var stream = members.Flag("stream") ?? false;
        return new ServingRequest
        {
            IsChat = chat,
            Prompts = chat ? [Conversation(members)] : Prompts(members),
            Sampling = sampling,
            Seed = seed,
            Samples = (int)(members.Whole("n", 1, MaxSamples) ?? 1),
            LogProbs = logProbs,
            Alternatives = alternatives,
            Stream = stream,
            StreamUsage = StreamUsage(members, stream),
        };
    }

    private static void CheckModel(RequestMembers members, string model)
    {
        if (members.Find("model") is not { } asked) return;
        if (asked.ValueKind != JsonValueKind.String) throw RequestMembers.Wrong("model", asked, "a text");
        if (asked.GetString() != model) throw ServingException.BadRequest($"There is no model {asked.GetRawText()}; this server has \"{model}\".", "model", "model_not_found", status: 404);
    }

    private static int MaxTokens(RequestMembers members, bool chat)
    {
        var asked = members.Whole("max_tokens", 1, int.MaxValue);
        if (!chat) return (int)(asked ?? DefaultCompletionTokens);
        var newer = members.Whole("max_completion_tokens", 1, int.MaxValue);
        if (asked is not null && newer is not null && asked != newer)
            throw ServingException.BadRequest($"max_tokens is {asked} and max_completion_tokens {newer}; expected one of them.", "max_tokens", "invalid_value");
        return (int)(newer ?? asked ?? int.MaxValue);
    }

    private static string[] Stops(RequestMembers members)
    {
        const string Expected = "a text, or a list of texts, none of them empty";
        if (members.Find("stop") is not { } stop) return [];
        string[] texts = stop.ValueKind switch
        {
            JsonValueKind.String => [stop.GetString()!],
            JsonValueKind.Array when stop.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String) => [.. stop.EnumerateArray().Select(item => item.GetString()!)],
            _ => throw RequestMembers.Wrong("stop", stop, Expected),
        };
        return texts.Contains("", StringComparer.Ordinal) ? throw RequestMembers.Wrong("stop", stop, Expected) : texts;
    }

    /// <summary>Completions give a number of likely tokens, chats a flag and a number.</summary>
    private static (bool Wanted, int Alternatives) LogProbs(RequestMembers members, bool chat)
    {
        if (!chat) return members.Whole("logprobs", 0, MaxLogProbs) is { } count ? (true, (int)count) : (false, 0);
        var wanted = members.Flag("logprobs") ?? false;
        var alternatives = (int)(members.Whole("top_logprobs", 0, MaxTopLogProbs) ?? 0);
        if (alternatives > 0 && !wanted) throw ServingException.BadRequest("top_logprobs is given without \"logprobs\": true.", "top_logprobs", "invalid_value");
        return (wanted, alternatives);
    }

    private static bool StreamUsage(RequestMembers members, bool stream)
    {
        if (members.Find("stream_options") is not { } options) return false;
        if (!stream) throw ServingException.BadRequest("stream_options is given without \"stream\": true.", "stream_options", "invalid_value");
        return new RequestMembers(options, ["include_usage", "include_obfuscation"]).Flag("include_usage") ?? false;
    }

    private static ServedPrompt[] Prompts(RequestMembers members)
    {
        const string Expected = "a text, a list of texts, a list of token ids or a list of such lists, none of them empty";
        if (members.Find("prompt") is not { } prompt) throw ServingException.BadRequest("There is no prompt.", "prompt", "missing_required_parameter");
        return prompt.ValueKind switch
        {
            JsonValueKind.String => [One(prompt)],
            JsonValueKind.Array when prompt.GetArrayLength() == 0 => throw Wrong(),
            JsonValueKind.Array when prompt[0].ValueKind == JsonValueKind.Number => [One(prompt)],
            JsonValueKind.Array => [.. prompt.EnumerateArray().Select(One)],
            _ => throw Wrong(),
        };

        ServedPrompt One(JsonElement one) => one.ValueKind switch
        {
            JsonValueKind.String when one.GetString()!.Length > 0 => new ServedPrompt { Text = one.GetString() },
            JsonValueKind.Array when one.GetArrayLength() > 0 => new ServedPrompt { TokenIds = [.. one.EnumerateArray().Select(Id)] },
            _ => throw Wrong(),
        };

        int Id(JsonElement id) => id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out var value) ? value : throw Wrong();

        ServingException Wrong() => RequestMembers.Wrong("prompt", prompt, Expected);
    }

    private static ServedPrompt Conversation(RequestMembers members)
    {
        if (members.Find("messages") is not { } messages) throw ServingException.BadRequest("There are no messages.", "messages", "missing_required_parameter");
        if (messages.ValueKind != JsonValueKind.Array || messages.GetArrayLength() == 0) throw RequestMembers.Wrong("messages", messages, "a list of at least one message");
        var variables = members.Find("chat_template_kwargs");
        if (variables is { ValueKind: not JsonValueKind.Object }) throw RequestMembers.Wrong("chat_template_kwargs", variables.Value, "an object");
        return new ServedPrompt
        {
            Messages = [.. messages.EnumerateArray().Select(Message)],
            TemplateVariables = variables?.EnumerateObject().ToDictionary(variable => variable.Name, variable => variable.Value.Clone(), StringComparer.Ordinal),
        };
    }

    /// <summary>A message; content in parts that are all text becomes the text, which is what templates of text models read.</summary>
    private static ChatMessage Message(JsonElement message)
    {
        try
        {
            if (message.ValueKind != JsonValueKind.Object || !message.TryGetProperty("content", out var content) || content.ValueKind != JsonValueKind.Array) return ChatMessage.FromJson(message);
            var text = string.Concat(content.EnumerateArray().Select(PartText));
            var joined = JsonObject.Create(message)!;
            joined["content"] = text;
            return ChatMessage.FromJson(JsonSerializer.SerializeToElement(joined));
        }
        catch (UserErrorException wrong)
        {
            throw ServingException.BadRequest(wrong.Message, "messages", "invalid_value", cause: wrong);
        }
    }

    private static string PartText(JsonElement part) =>
        part.ValueKind == JsonValueKind.Object && part.TryGetProperty("type", out var type) && type.ValueEquals("text") && part.TryGetProperty("text", out var text) && text.ValueKind == JsonValueKind.String
            ? text.GetString()!
            : throw RequestMembers.Wrong("messages", part, "content parts of {\"type\": \"text\", \"text\": ...}; this model reads text only");
}
