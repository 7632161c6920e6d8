// A window of groups is under way at a time: enough to fill the slots, few enough that memory does not grow with the file.
//
//   prompts ──window──> engine ──each completion as it ends──> queue ──> lines ──> output file, on the disk batch by batch
//
// A batch is what has ended while the one before it was written. Whatever ends the run, what has ended is written first.
using System.Threading.Channels;
using Sapo.Core;
using Sapo.Hybrid.Runs;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout;

namespace Sapo.Hybrid.Generation;

/// <summary>Generates what an output file still lacks.</summary>
internal sealed class GenerationRun(RolloutEngine engine, GenerationOutput output, GenerationOptions options, CompletionText text, Action<string> say, TimeProvider time)
{
    private static readonly TimeSpan BetweenNews = TimeSpan.FromSeconds(5);

    private readonly Channel<(int Line, Completion Completion)> _ended = // not bounded: the engine's thread must not wait for the disk
        Channel.CreateUnbounded<(int, Completion)>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<FinishReason, int> _ends = [];
    private readonly long _started = time.GetTimestamp();
    private int _written, _wanted, _shortest, _longest;
    private long _tokens;

    /// <summary>Generates.</summary>
    /// <exception cref="UserErrorException">The disk is full, or the output file cannot be written.</exception>
    /// <exception cref="RolloutException">The engine failed.</exception>
    public async Task<GenerationOutcome> RunAsync(IReadOnlyList<Prompt> prompts, CancellationToken cancel)
    {
        var requests = prompts.SelectMany(prompt => output.Missing((int)prompt.Id, options.Samples).Select(run => ToRequest(prompt, run.First, run.Count))).ToList();
        _wanted = requests.Sum(request => request.GroupSize);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var writing = WriteAsync(stop);
        var window = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(2, 2 * options.Engine.Slots / options.Samples), CancellationToken = stop.Token };
        try
        {
            await Parallel.ForEachAsync(requests, window, async (request, ended) => await engine.GenerateAsync(request, ended).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            // writing failed, and says why below
        }
        finally
        {
            _ended.Writer.Complete();
            await writing.ConfigureAwait(false);
        }
        return Outcome();
    }

    private GenerationRequest ToRequest(Prompt prompt, int first, int count) => new(prompt, count, options.Sampling)
    {
        FirstSampleIndex = first,
        Alternatives = options.TopLogProbs,
        CompletionFinished = completion => _ended.Writer.TryWrite(((int)prompt.Id, completion)),
    };

    private async Task WriteAsync(CancellationTokenSource stop)
    {
        try
        {
            var told = _started;
            while (await _ended.Reader.WaitToReadAsync(CancellationToken.None).ConfigureAwait(false))
            {
                var batch = new List<GeneratedLine>();
                while (_ended.Reader.TryRead(out var ended)) batch.Add(Count(ended.Line, ended.Completion));
                output.Write(batch);
                if (_written == _wanted || time.GetElapsedTime(told) < BetweenNews) continue;
                told = time.GetTimestamp();
                say(Progress());
            }
        }
        catch (IOException failure)
        {
            await stop.CancelAsync().ConfigureAwait(false);
            throw new UserErrorException(
                $"{options.Out}: {failure.Message.TrimEnd('.')}", DiskFull.Is(failure) ? "free space on that disk" : "a file that can be written",
                "What was written before stays in the file: mend it and give the same command again", failure);
        }
    }

    private GeneratedLine Count(int line, Completion completion)
    {
        var length = completion.TokenIds.Length;
        (_shortest, _longest) = (_written == 0 ? length : Math.Min(_shortest, length), Math.Max(_longest, length));
        _ends[completion.FinishReason] = _ends.GetValueOrDefault(completion.FinishReason) + 1;
        _written++;
        _tokens += length;
        return GeneratedLine.Of(line, completion, text.Of(completion.TokenIds), options.LogProbs || options.TopLogProbs > 0);
    }

    private string Progress()
    {
        var seconds = time.GetElapsedTime(_started).TotalSeconds;
        return $"{_written:N0} of {_wanted:N0} completions, {_tokens / seconds:N0} tokens/s, about {seconds * (_wanted - _written) / _written:N0} s left";
    }

    private GenerationOutcome Outcome()
    {
        var counters = engine.Counters;
        return new GenerationOutcome
        {
            Completions = _written,
            AlreadyDone = output.AlreadyDone,
            Tokens = _tokens,
            Seconds = time.GetElapsedTime(_started).TotalSeconds,
            Lengths = (_shortest, _longest),
            Ends = _ends,
            SlotUtilisation = counters.SlotUtilisation,
            PromptTokens = (counters.PromptTokensComputed, counters.PromptTokensRequested),
        };
    }
}
