// Requests in, answers in OpenAI's form out; knows the engine and nothing of HTTP:
//
//   JSON ──ServingRequestReader──> ServingRequest ──tokenizer, chat template──> ids ──RunningAnswer──> pieces ──AnswerJson──> JSON
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Serving;

/// <summary>One model's answers to completion and chat completion requests. All members may be called from any thread.</summary>
public sealed class CompletionService
{
    private readonly RolloutEngine _engine;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly Lazy<ChatTemplate> _template;
    private readonly string _fingerprint;
    private readonly string[] _places;
    private readonly Func<long> _freshSeed;
    private readonly TimeProvider _time;
    private readonly long _created;

    /// <summary>A service over a running engine, which stays the caller's.</summary>
    /// <param name="engine">The engine, started with the tokenizer.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="policy">The policy the engine serves; its folder has the chat template, looked for when the first chat asks.</param>
    /// <param name="model">The name clients use.</param>
    /// <param name="freshSeed">Gives seeds to requests without one.</param>
    /// <param name="time">The clock.</param>
    public CompletionService(RolloutEngine engine, HuggingFaceTokenizer tokenizer, PublishedPolicy policy, string model, Func<long> freshSeed, TimeProvider time)
    {
        (_engine, _tokenizer, Model, _freshSeed, _time) = (engine, tokenizer, model, freshSeed, time);
        _template = new Lazy<ChatTemplate>(() => ChatTemplate.Load(policy.Folder));
        _places = [Path.GetFullPath(policy.Folder) + Path.DirectorySeparatorChar, policy.Folder.TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar];
        _fingerprint = "fp_" + policy.Fingerprint[..12];
        _created = time.GetUtcNow().ToUnixTimeSeconds();
    }

    /// <summary>The model's name.</summary>
    public string Model { get; }

    /// <summary>The model, as an entry of the list of models.</summary>
    public JsonObject DescribeModel() => new() { ["id"] = Model, ["object"] = "model", ["created"] = _created, ["owned_by"] = "sapo" };

    /// <summary>Reads a request and queues it.</summary>
    /// <param name="json">The request.</param>
    /// <param name="chat">Whether it is a chat completion.</param>
    /// <param name="cancel">Frees its slots.</param>
    /// <returns>Belongs to the caller, who disposes it.</returns>
    /// <exception cref="ServingException">The request is wrong.</exception>
    /// <exception cref="UserErrorException">It does not fit the model.</exception>
    public async Task<ServedAnswer> StartAsync(JsonElement json, bool chat, CancellationToken cancel)
    {
        var request = ServingRequestReader.Read(json, chat, Model);
        int[][] prompts = [.. request.Prompts.Select(Encode)];
        var running = await RunningAnswer.StartAsync(_engine, _tokenizer, request, prompts, request.Seed ?? _freshSeed(), cancel).ConfigureAwait(false);
        var id = $"{(chat ? "chatcmpl" : "cmpl")}-{Guid.NewGuid():N}";
        return new ServedAnswer(request, running, new AnswerJson(request, id, _time.GetUtcNow().ToUnixTimeSeconds(), Model, _fingerprint, prompts.Sum(ids => ids.Length)));
    }

    private int[] Encode(ServedPrompt prompt)
    {
        try
        {
            return prompt.TokenIds
                ?? (prompt.Messages is { } messages
                    ? _tokenizer.Encode(_template.Value.Render(messages, addGenerationPrompt: true, prompt.TemplateVariables), addSpecialTokens: false)
                    : _tokenizer.Encode(prompt.Text!, addSpecialTokens: true));
        }
        catch (UserErrorException wrong) // names files of the model, whose place is no client's business
        {
            throw ServingException.BadRequest(_places.Aggregate(wrong.Message, (message, place) => message.Replace(place, "", StringComparison.Ordinal)), cause: wrong);
        }
    }
}

/// <summary>An answer on its way: taken whole or chunk by chunk, once. Disposing it frees its slots.</summary>
public sealed class ServedAnswer : IAsyncDisposable
{
    private readonly ServingRequest _request;
    private readonly RunningAnswer _running;
    private readonly AnswerJson _json;

    internal ServedAnswer(ServingRequest request, RunningAnswer running, AnswerJson json) => (_request, _running, _json) = (request, running, json);

    /// <summary>Whether the client asked for chunks.</summary>
    public bool IsStream => _request.Stream;

    /// <summary>The answer when all its choices have ended.</summary>
    /// <exception cref="RolloutException">The engine failed.</exception>
    public async Task<JsonObject> WholeAsync(CancellationToken cancel)
    {
        AnswerJson.Choice[] choices = [.. Enumerable.Range(0, _running.Choices).Select(_ => new AnswerJson.Choice())];
        await foreach (var piece in _running.PiecesAsync(cancel).ConfigureAwait(false))
        {
            var choice = choices[piece.Choice];
            choice.Text.Append(piece.Text);
            if (piece.Token is { } token) choice.Tokens.Add(token);
            choice.FinishReason = piece.FinishReason ?? "";
        }
        return _json.Whole(choices, _running.CompletionTokens);
    }

    /// <summary>The answer's chunks as they come.</summary>
    /// <exception cref="RolloutException">The engine failed.</exception>
    public async IAsyncEnumerable<JsonObject> ChunksAsync([EnumeratorCancellation] CancellationToken cancel)
    {
        if (_request.IsChat)
            for (var i = 0; i < _running.Choices; i++) yield return _json.RoleChunk(i);
        await foreach (var piece in _running.PiecesAsync(cancel).ConfigureAwait(false)) yield return _json.Chunk(piece);
        if (_request.StreamUsage) yield return _json.UsageChunk(_running.CompletionTokens);
    }

    /// <inheritdoc />
    public ValueTask DisposeAsync() => _running.DisposeAsync();
}
