// One request under way. The engine's thread puts tokens into a queue and goes on; the client's task turns them into text:
//
//   engine ──TokenSampled, CompletionFinished──> queue ──> StreamedText per choice ──> AnswerPiece
//
// The queue is not bounded, since the engine must not wait for a client; it holds at most the request's own tokens.
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;
using System.Threading.Channels;
using Sapo.Core;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Serving;

/// <summary>One sampled token as clients see it.</summary>
/// <param name="Text">Its text; bytes that are no whole characters as <c>bytes:\xe2\x82</c>.</param>
/// <param name="Bytes">Its bytes.</param>
/// <param name="LogProb">Natural log of its probability after penalties and temperature (1 when greedy), before truncation.</param>
/// <param name="TextOffset">Where in the choice's text it begins, in UTF-16 units.</param>
/// <param name="Likely">The most likely tokens in its place, as many as were asked for.</param>
internal sealed record ServedToken(string Text, byte[] Bytes, float LogProb, int TextOffset, IReadOnlyList<ServedToken> Likely);

/// <summary>A step of one choice: text, a token where log-probs are wanted, or the end.</summary>
/// <param name="Choice">Index of the choice: prompt by prompt, sample by sample.</param>
/// <param name="Text">New text, possibly none.</param>
/// <param name="Token">The token behind it, or null.</param>
/// <param name="FinishReason"><c>stop</c>, <c>length</c>, or null while it goes on.</param>
internal sealed record AnswerPiece(int Choice, string Text, ServedToken? Token, string? FinishReason);

/// <summary>A request in the engine. Disposing it frees its slots.</summary>
internal sealed class RunningAnswer : IAsyncDisposable
{
    private readonly record struct Arrival(int Choice, int TokenId, float LogProb, TokenAlternatives? Alternatives, FinishReason? End);

    private readonly ServingRequest _request;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly CancellationTokenSource _stop;
    private readonly StreamedText[] _texts;
    private readonly Channel<Arrival> _arrivals = Channel.CreateUnbounded<Arrival>(new UnboundedChannelOptions { SingleReader = true });
    private Task _watch = Task.CompletedTask;

    private RunningAnswer(ServingRequest request, HuggingFaceTokenizer tokenizer, int choices, CancellationToken cancel)
    {
        (_request, _tokenizer) = (request, tokenizer);
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        _texts = [.. Enumerable.Range(0, choices).Select(_ => new StreamedText(tokenizer, request.Sampling.StopStrings))];
    }

    /// <summary>Number of choices: prompts times samples.</summary>
    public int Choices => _texts.Length;

    /// <summary>Tokens that arrived so far, of all choices.</summary>
    public int CompletionTokens { get; private set; }

    /// <summary>Queues all prompts of a request.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="request">The request.</param>
    /// <param name="prompts">Its prompts' ids.</param>
    /// <param name="seed">Seed of the draws. A prompt's random numbers depend on it, on its place in the request and on the sample.</param>
    /// <param name="cancel">Frees the slots.</param>
    /// <exception cref="UserErrorException">A prompt or the options do not fit the model; then nothing is queued.</exception>
    public static async Task<RunningAnswer> StartAsync(
        RolloutEngine engine, HuggingFaceTokenizer tokenizer, ServingRequest request, IReadOnlyList<int[]> prompts, long seed, CancellationToken cancel)
    {
        var answer = new RunningAnswer(request, tokenizer, prompts.Count * request.Samples, cancel);
        var groups = new List<Task>();
        try
        {
            for (var i = 0; i < prompts.Count; i++) groups.Add(engine.GenerateAsync(answer.ToGroup(i, prompts[i], seed), answer._stop.Token));
        }
        catch
        {
            answer._watch = answer.WatchAsync(groups);
            await answer.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        answer._watch = answer.WatchAsync(groups);
        return answer;
    }

    /// <summary>What happens, as it happens, until all choices have ended. May be called once.</summary>
    /// <exception cref="RolloutException">The engine failed.</exception>
    /// <exception cref="OperationCanceledException">The client or the server stopped it.</exception>
    public async IAsyncEnumerable<AnswerPiece> PiecesAsync([EnumeratorCancellation] CancellationToken cancel = default)
    {
        await foreach (var arrival in _arrivals.Reader.ReadAllAsync(cancel).ConfigureAwait(false))
        {
            cancel.ThrowIfCancellationRequested(); // the channel hands out all it holds first
            var text = _texts[arrival.Choice];
            if (arrival.End is { } end)
            {
                var rest = text.Finish();
                yield return new AnswerPiece(arrival.Choice, rest, null, end == FinishReason.Length && !text.IsStopped ? "length" : "stop");
                continue;
            }
            CompletionTokens++;
            var token = _request.LogProbs ? Describe(arrival.TokenId, arrival.LogProb, text.Length, arrival.Alternatives) : null;
            var added = text.Append(arrival.TokenId);
            if (added.Length > 0 || token is not null) yield return new AnswerPiece(arrival.Choice, added, token, null);
        }
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _watch.ConfigureAwait(false);
        _stop.Dispose();
    }

    private GenerationRequest ToGroup(int prompt, int[] ids, long seed)
    {
        var first = prompt * _request.Samples;
        return new GenerationRequest(new Prompt { Id = prompt, TokenIds = ids }, _request.Samples, _request.Sampling with { Seed = seed })
        {
            Alternatives = _request.Alternatives,
            TokenSampled = token => _arrivals.Writer.TryWrite(new Arrival(first + token.SampleIndex, token.TokenId, token.UntruncatedLogProb, token.Alternatives, null)),
            CompletionFinished = completion => _arrivals.Writer.TryWrite(new Arrival(first + completion.SampleIndex, 0, 0, null, completion.FinishReason)),
        };
    }

    /// <summary>Ends the queue when all groups have ended, with the first failure if there was one.</summary>
    private async Task WatchAsync(List<Task> groups)
    {
        try
        {
            await Task.WhenAll(groups).ConfigureAwait(false);
            _arrivals.Writer.TryComplete();
        }
        catch (Exception failure)
        {
            _arrivals.Writer.TryComplete(failure);
        }
    }

    private ServedToken Describe(int tokenId, float logProb, int offset, TokenAlternatives? alternatives)
    {
        var bytes = _tokenizer.TokenText(tokenId) is null ? "\uFFFD"u8 : _tokenizer.TokenBytes(tokenId);
        var text = Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : "bytes:" + string.Concat(bytes.ToArray().Select(value => $"\\x{value:x2}"));
        ServedToken[] likely = alternatives is null ? [] : [.. alternatives.TokenIds.Zip(alternatives.LogProbs, (id, of) => Describe(id, of, offset, null))];
        return new ServedToken(text, bytes.ToArray(), logProb, offset, likely);
    }
}
