// An engine below 32 bits is measured before it is used: against the learner's log-probs, where the model was published with
// probe sequences, else against sequences that an engine in 32 bits samples once, after the import, and that the imported
// folder keeps. Its own start then replays them, as training does with every version.
using System.Text.Json;
using System.Text.Json.Serialization;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Generation;

/// <summary>How far an engine below 32 bits is off: the content of precision.json in the folder it serves.</summary>
/// <param name="Precision">The engine's.</param>
/// <param name="Reference">Where the sequences and their 32-bit log-probs come from.</param>
/// <param name="Mismatch">How far its log-probs lie from them.</param>
public sealed record PrecisionReport(string Precision, string Reference, LogProbMismatch Mismatch)
{
    /// <summary>The file's name.</summary>
    public const string FileName = "precision.json";

    /// <inheritdoc />
    public override string ToString() =>
        $"{Precision}: log-probs differ from {Reference} by {Mismatch.MeanAbsolute:0.0e+0} nats on average and {Mismatch.MaxAbsolute:0.0e+0} at most, KL {Mismatch.KlNats:0.0e+0} nats per token ({Mismatch.Tokens:N0} tokens)";
}

/// <summary>Writes precision.json.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(PrecisionReport))]
public sealed partial class PrecisionJson : JsonSerializerContext;

/// <summary>Starts engines for models that are served outside training.</summary>
public static class ServedEngine
{
    private const int Sequences = 16, SequenceTokens = 64;
    private const int LeastPositions = 256; // room for the sequences that a precision is measured with

    /// <summary>The same options with rows as long as the work at hand needs, where none are asked for: a model's own limit can be far more than memory holds.</summary>
    /// <param name="options">The options.</param>
    /// <param name="prompts">All prompts that will be asked.</param>
    /// <param name="maxNewTokens">Longest completion.</param>
    public static EngineOptions Sized(EngineOptions options, IEnumerable<Prompt> prompts, int maxNewTokens)
    {
        if (options.MaxSequenceLength is not null) return options;
        var longest = prompts.Select(prompt => (long)prompt.TokenIds.Length).DefaultIfEmpty().Max() + maxNewTokens;
        return options with { MaxSequenceLength = (int)Math.Clamp(longest, LeastPositions, int.MaxValue) };
    }

    /// <summary>Starts an engine; one below 32 bits is measured, and says how far it is off.</summary>
    /// <param name="model">Opened for the engine's precision.</param>
    /// <param name="options">The engine.</param>
    /// <param name="threads">Threads of a decode step.</param>
    /// <param name="tokenizer">For stop strings, or null.</param>
    /// <param name="trace">Where the engine notes what it does, or null.</param>
    /// <param name="say">News, for people.</param>
    /// <param name="cancel">Stops.</param>
    /// <exception cref="UserErrorException">An option is out of range, the model is broken, or the precision ruins it.</exception>
    public static async Task<RolloutEngine> StartAsync(
        ServedModel model, EngineOptions options, int threads, HuggingFaceTokenizer? tokenizer, EngineTrace? trace, Action<string> say, CancellationToken cancel)
    {
        var isReduced = options.Validated().Precision != Precision.Fp32.Name();
        var isImported = model.Policy.Version == default;
        if (isReduced && model.Policy.Manifest.Probe.Count == 0)
            model.Policy = model.Policy.WithProbe(await SampleAsync(model.Policy, options, threads, cancel).ConfigureAwait(false));
        try
        {
            var engine = await RolloutEngine.StartAsync(model.Policy, options, threads, tokenizer, trace, cancel).ConfigureAwait(false);
            if (isReduced) Report(new PrecisionReport(options.Precision, isImported ? "fp32" : "the learner", engine.Mismatch!), model.Policy.Folder, say);
            return engine;
        }
        catch (SwapFailedException tooFar) when (isReduced)
        {
            throw new UserErrorException(
                $"At {options.Precision} this model's log-probs differ from 32 bits by {tooFar.Mismatch.MeanAbsolute:G3} nats on average",
                $"at most {ProbeTolerance.Of(PrecisionNames.Parse(options.Precision))}", "Choose a higher precision", tooFar);
        }
    }

    private static void Report(PrecisionReport report, string folder, Action<string> say)
    {
        var path = Path.Combine(folder, PrecisionReport.FileName);
        try
        {
            AtomicFile.WriteAllBytes(path, JsonSerializer.SerializeToUtf8Bytes(report, PrecisionJson.Default.PrecisionReport));
            say($"{report}. Saved: {path}");
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            say($"{report}. Not saved: {failure.Message}"); // a published policy may lie where nobody writes
        }
    }

    private static async Task<IReadOnlyList<ProbeSequence>> SampleAsync(PublishedPolicy policy, EngineOptions options, int threads, CancellationToken cancel)
    {
        var config = ModelConfigReader.Read(policy.Folder);
        var first = config.BeginTokenId ?? (config.EndTokenIds.Count > 0 ? config.EndTokenIds[0] : 0);
        var length = Math.Clamp(Math.Min(config.MaxPositions, options.MaxSequenceLength ?? int.MaxValue) - 2, 1, SequenceTokens);
        var exact = new EngineOptions { Slots = Sequences, MaxSequenceLength = length + 1 };
        var engine = await RolloutEngine.StartAsync(policy, exact, threads, tokenizer: null, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            var prompt = new Prompt { Id = 0, TokenIds = [first] };
            var group = await engine.GenerateAsync(prompt, Sequences, new SamplingOptions { MaxNewTokens = length, StopTokenIds = [] }, cancel).ConfigureAwait(false);
            return [.. group.Completions.Select(completion => new ProbeSequence([first, .. completion.TokenIds], [0, .. completion.BehaviourLogProbs]))];
        }
    }
}
