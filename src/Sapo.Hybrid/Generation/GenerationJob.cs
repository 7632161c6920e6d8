// prompts file -> engine -> output file, in prompt order. A window of groups is under way at a time: enough to fill the
// slots, few enough that memory does not grow with the file.
using System.Threading.Channels;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Generation;

/// <summary>What <c>sapo rollout</c> does.</summary>
public sealed record GenerationOptions
{
    /// <summary>A published policy or a Hugging Face folder.</summary>
    public required string Model { get; init; }

    /// <summary>JSONL, one prompt per line.</summary>
    public required string Prompts { get; init; }

    /// <summary>JSONL, one completion per line.</summary>
    public required string Out { get; init; }

    /// <summary>Completions per prompt.</summary>
    public int Samples { get; init; } = 1;

    /// <summary>How tokens are drawn.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>The engine.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>Threads of a decode step; null takes every core.</summary>
    public int? Threads { get; init; }

    /// <summary>Write log-probs too.</summary>
    public bool LogProbs { get; init; }

    /// <summary>Report bad lines and go on, instead of stopping at the first.</summary>
    public bool KeepGoing { get; init; }

    /// <summary>Put plain prompts into the model's chat template.</summary>
    public bool Chat { get; init; }

    /// <summary>A trace file to write at the end, for Perfetto; null for none.</summary>
    public string? Trace { get; init; }
}

/// <summary>What a generation came to.</summary>
/// <param name="Completions">Written by this call.</param>
/// <param name="AlreadyDone">Found in the output file.</param>
/// <param name="BadLines">Left out.</param>
/// <param name="Tokens">Sampled by this call.</param>
/// <param name="Seconds">From the first prompt to the last completion.</param>
public sealed record GenerationOutcome(int Completions, int AlreadyDone, int BadLines, long Tokens, double Seconds);

/// <summary>Samples completions for a file of prompts.</summary>
public static class GenerationJob
{
    /// <summary>Runs to the end of the file. Interrupted, the same call goes on where it stopped.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="say">News and bad lines, for people.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancel">Stops; what is written stays.</param>
    /// <exception cref="UserErrorException">Files, model or options are wrong.</exception>
    public static async Task<GenerationOutcome> RunAsync(
        GenerationOptions options, Action<string> say, TimeProvider time, CancellationToken cancel)
    {
        if (options.Samples < 1) throw new UserErrorException($"--samples is {options.Samples}", "at least 1", "Correct the command line");
        if (options.Samples > 1 && options.Sampling.Temperature == 0)
            throw new UserErrorException(
                $"--samples is {options.Samples} at temperature 0", "1, since all would be the same", "Correct the command line");
        options.Sampling.Validated();
        var badLines = 0;
        var lines = PromptFile.Read(options.Prompts, options.KeepGoing ? Bad : null);
        using var model = ServedModel.Open(options.Model, PrecisionNames.Parse(options.Engine.Validated().Precision), say);
        var tokenizer = HuggingFaceTokenizer.Load(model.Policy.Folder);
        var encoder = new PromptEncoder(tokenizer, model.Policy.Folder, options.Chat, systemMessage: null);
        var prompts = Encode(lines, encoder, options, Bad);
        using var output = GenerationOutput.Open(options.Out, Stamp(options, model.Policy));
        if (output.AlreadyDone > 0) say($"{options.Out} holds {output.AlreadyDone:N0} completions already; going on from there.");
        var trace = EngineTrace.To(options.Trace, time);
        var threads = options.Threads ?? ThreadBudget.ForMachine(overlapped: false).EngineThreads;
        var engine = await ServedEngine.StartAsync(model, options.Engine, threads, tokenizer, trace, say, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            var started = time.GetTimestamp();
            var completions = await PumpAsync(
                prompts, options, engine, output, new CompletionText(tokenizer), cancel).ConfigureAwait(false);
            trace?.Save(options.Trace!);
            return new GenerationOutcome(
                completions, output.AlreadyDone, badLines, engine.Counters.GeneratedTokens, time.GetElapsedTime(started).TotalSeconds);
        }

        void Bad(UserErrorException error)
        {
            badLines++;
            say(error.Message);
        }
    }

    private static List<Prompt> Encode(
        IReadOnlyList<PromptLine> lines, PromptEncoder encoder, GenerationOptions options, Action<UserErrorException> bad)
    {
        var prompts = new List<Prompt>();
        foreach (var line in lines)
        {
            try
            {
                prompts.Add(encoder.Encode(line, options.Prompts, id: line.Number));
            }
            catch (UserErrorException error) when (options.KeepGoing)
            {
                bad(error);
            }
        }
        return prompts;
    }

    private static async Task<int> PumpAsync(
        List<Prompt> prompts, GenerationOptions options, RolloutEngine engine, GenerationOutput output, CompletionText text,
        CancellationToken cancel)
    {
        var window = Math.Max(2, 2 * options.Engine.Slots / options.Samples);
        var channel = Channel.CreateBounded<Task<RolloutGroup>>(
            new BoundedChannelOptions(window) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true, SingleWriter = true });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var feeding = FeedAsync(prompts, options, engine, output, channel.Writer, stop.Token);
        var written = 0;
        try
        {
            await foreach (var group in channel.Reader.ReadAllAsync(stop.Token).ConfigureAwait(false))
            {
                var finished = await group.ConfigureAwait(false);
                output.Write(
                    finished.Completions.Select(completion => ToLine((int)finished.Prompt.Id, completion, options.LogProbs, text)));
                written += finished.Completions.Count;
            }
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await feeding.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            while (channel.Reader.TryRead(out var left)) await ((Task)left).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        return written;
    }

    private static async Task FeedAsync(
        List<Prompt> prompts, GenerationOptions options, RolloutEngine engine, GenerationOutput output,
        ChannelWriter<Task<RolloutGroup>> writer, CancellationToken cancel)
    {
        try
        {
            foreach (var prompt in prompts)
                foreach (var (first, count) in output.Missing((int)prompt.Id, options.Samples))
                {
                    await writer.WaitToWriteAsync(cancel).ConfigureAwait(false);
                    await writer.WriteAsync(
                        engine.GenerateAsync(new GenerationRequest(prompt, count, options.Sampling) { FirstSampleIndex = first }, cancel),
                        CancellationToken.None).ConfigureAwait(false);
                }
            writer.Complete();
        }
        catch (Exception failure)
        {
            writer.Complete(failure);
        }
    }

    private static GeneratedLine ToLine(int line, Completion completion, bool logProbs, CompletionText text) => new()
    {
        Line = line,
        Sample = completion.SampleIndex,
        Text = text.Of(completion.TokenIds),
        FinishReason = completion.FinishReason.ToString(),
        TokenIds = completion.TokenIds,
        LogProbs = logProbs ? completion.BehaviourLogProbs : null,
    };

    private static GenerationStamp Stamp(GenerationOptions options, PublishedPolicy policy) => new()
    {
        Model = Path.GetFullPath(options.Model),
        Weights = policy.Fingerprint,
        Prompts = Path.GetFullPath(options.Prompts),
        Samples = options.Samples,
        LogProbs = options.LogProbs,
        Chat = options.Chat,
        Sampling = options.Sampling,
        Session = options.Engine.Session,
        Precision = options.Engine.Precision,
    };
}
