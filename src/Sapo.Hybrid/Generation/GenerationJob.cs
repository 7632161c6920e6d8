// prompts file -> prompts, every one checked before anything is generated -> GenerationRun -> output file
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;
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

    /// <summary>Write so many of the most likely tokens beside each sampled one, with their log-probs; 0 to <see cref="GenerationRequest.MaxAlternatives"/>.</summary>
    public int TopLogProbs { get; init; }

    /// <summary>Report bad lines and go on, instead of stopping at the first.</summary>
    public bool KeepGoing { get; init; }

    /// <summary>Put plain prompts into the model's chat template.</summary>
    public bool Chat { get; init; }

    /// <summary>A trace file to write at the end, for Perfetto; null for none.</summary>
    public string? Trace { get; init; }
}

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
        if (options.Samples < 1) throw new UserErrorException($"--n is {options.Samples}", "at least 1", "Correct the command line");
        if (options.Samples > 1 && options.Sampling.Temperature == 0)
            throw new UserErrorException($"--n is {options.Samples} at temperature 0", "1, since all would be the same", "Correct the command line");
        if (options.TopLogProbs is < 0 or > GenerationRequest.MaxAlternatives)
            throw new UserErrorException($"--top-log-probs is {options.TopLogProbs}", $"0 to {GenerationRequest.MaxAlternatives}", "Correct the command line");
        if (options.Sampling.Validated().Penalises)
            say("warning: with penalties the log-probs are those of the penalised distributions; training on these completions would be biased.");
        var badLines = 0;
        var lines = PromptFile.Read(options.Prompts, options.KeepGoing ? Bad : null);
        ExecutionProvider.Check(options.Engine.Validated());
        using var model = ServedModel.Open(options.Model, PrecisionNames.Parse(options.Engine.Precision), say);
        var tokenizer = HuggingFaceTokenizer.Load(model.Policy.Folder);
        var encoder = new PromptEncoder(tokenizer, model.Policy.Folder, options.Chat, systemMessage: null);
        var prompts = Encode(lines, encoder, options, Bad);
        using var output = GenerationOutput.Open(options.Out, Stamp(options, model.Policy));
        if (output.AlreadyDone > 0) say($"{options.Out} holds {output.AlreadyDone:N0} completions already; going on from there.");
        var trace = EngineTrace.To(options.Trace, time);
        var threads = options.Threads ?? ThreadBudget.ForMachine(overlapped: false).EngineThreads;
        var engine = await ServedEngine.StartAsync(model, ServedEngine.Sized(options.Engine, prompts, options.Sampling.MaxNewTokens), threads, tokenizer, trace, say, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            prompts.RemoveAll(prompt => !Fits(prompt, engine, options, Bad));
            var run = new GenerationRun(engine, output, options, new CompletionText(tokenizer), say, time);
            var outcome = await run.RunAsync(prompts, cancel).ConfigureAwait(false);
            say($"{options.Engine.Slots:N0} slots: {engine.Counters.MemoryText}.");
            trace?.Save(options.Trace!);
            return outcome with { BadLines = badLines };
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

    private static bool Fits(Prompt prompt, RolloutEngine engine, GenerationOptions options, Action<UserErrorException> bad)
    {
        try
        {
            engine.CheckPrompt(prompt);
            return true;
        }
        catch (UserErrorException unfit)
        {
            var error = new UserErrorException($"{options.Prompts}, line {prompt.Id}: {unfit.Message.TrimEnd('.')}", null, "Correct the line, or leave it out", unfit);
            if (!options.KeepGoing) throw error;
            bad(error);
            return false;
        }
    }

    private static GenerationStamp Stamp(GenerationOptions options, PublishedPolicy policy) => new()
    {
        Model = Path.GetFullPath(options.Model),
        Weights = policy.Fingerprint,
        Prompts = Path.GetFullPath(options.Prompts),
        Samples = options.Samples,
        LogProbs = options.LogProbs,
        TopLogProbs = options.TopLogProbs,
        Chat = options.Chat,
        Sampling = options.Sampling,
        Session = options.Engine.Session,
        Precision = options.Engine.Precision,
    };
}
