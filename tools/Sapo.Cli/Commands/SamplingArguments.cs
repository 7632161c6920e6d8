using System.CommandLine;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;

namespace Sapo.Cli.Commands;

/// <summary>The options by which <c>rollout</c> and <c>eval</c> say how tokens are drawn and by what engine.</summary>
internal sealed class SamplingArguments
{
    private readonly Option<double> _temperature = new("--temperature")
    {
        Description = "Divides the logits; 0 takes the most likely token",
        DefaultValueFactory = _ => 1,
    };
    private readonly Option<int> _topK = new("--top-k") { Description = "Keep the k most likely tokens; 0 keeps all" };
    private readonly Option<double> _topP = new("--top-p")
    {
        Description = "Keep the smallest set of tokens that reaches this probability",
        DefaultValueFactory = _ => 1,
    };
    private readonly Option<double> _minP = new("--min-p")
    {
        Description = "Keep tokens at least this share as likely as the most likely one",
    };
    private readonly Option<bool> _minPFirst = new("--min-p-first") { Description = "Apply min-p before top-k and top-p, as vLLM does, instead of behind them" };
    private readonly Option<double> _repetition = new("--repetition-penalty")
    {
        Description = "Above 1: tokens of prompt and completion become less likely. Part of the log-probs, as all penalties",
        DefaultValueFactory = _ => 1,
    };
    private readonly Option<double> _frequency = new("--frequency-penalty") { Description = "-2 to 2, by how often the completion holds a token" };
    private readonly Option<double> _presence = new("--presence-penalty") { Description = "-2 to 2, where the completion holds a token at all" };
    private readonly Option<string[]> _stop = new("--stop") { Description = "A text that ends a completion; may be given several times", HelpName = "text" };
    private readonly Option<int> _maxNewTokens = new("--max-new-tokens")
    {
        Description = "Most tokens per completion",
        DefaultValueFactory = _ => 256,
    };
    private readonly Option<long> _seed = new("--seed") { Description = "Seed of the draws: the same seed gives the same completions" };
    private readonly Option<string> _session = new("--engine")
    {
        Description = "ort (ONNX Runtime directly) or genai (through ONNX Runtime GenAI, at most 32 slots)",
        DefaultValueFactory = _ => new EngineOptions().Session,
        HelpName = "name",
    };
    private readonly Option<string> _precision = new("--precision")
    {
        Description = $"What weights are read in: {string.Join(", ", PrecisionNames.All)}. Below fp32 log-probs are a little off; by how much is said and saved",
        DefaultValueFactory = _ => new EngineOptions().Precision,
        HelpName = "name",
    };
    private readonly Option<string> _provider = new("--provider")
    {
        Description = "What ONNX Runtime computes with: cpu, or cuda where its provider and a device are",
        DefaultValueFactory = _ => new EngineOptions().Provider,
        HelpName = "name",
    };
    private readonly Option<int?> _slots = new("--slots")
    {
        Description = $"Completions decoded at once. Default: {new EngineOptions().Slots}, or {EngineOptions.MostGenAiSlots} with --engine genai",
    };
    private readonly Option<int?> _maxSequenceLength = new("--max-sequence-length")
    {
        Description = "Longest prompt and completion together: sizes the caches. Default: what the prompts need; for serve, the model's own limit",
    };
    private readonly Option<int?> _threads = new("--threads") { Description = "Threads of the engine. Default: every core" };

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[_temperature, _topK, _topP, _minP, _minPFirst, _repetition, _frequency, _presence, _maxNewTokens, _stop, _seed]) command.Options.Add(option);
        AddEngineTo(command);
    }

    /// <summary>Only what says by what engine: for <c>serve</c>, whose requests say how tokens are drawn.</summary>
    public void AddEngineTo(Command command)
    {
        foreach (var option in (Option[])[_session, _precision, _provider, _slots, _maxSequenceLength, _threads]) command.Options.Add(option);
    }

    public SamplingOptions Sampling(ParseResult parsed) => new()
    {
        Temperature = parsed.GetValue(_temperature),
        TopK = parsed.GetValue(_topK),
        TopP = parsed.GetValue(_topP),
        MinP = parsed.GetValue(_minP),
        MinPFirst = parsed.GetValue(_minPFirst),
        RepetitionPenalty = parsed.GetValue(_repetition),
        FrequencyPenalty = parsed.GetValue(_frequency),
        PresencePenalty = parsed.GetValue(_presence),
        StopStrings = parsed.GetValue(_stop) ?? [],
        MaxNewTokens = parsed.GetValue(_maxNewTokens),
        Seed = parsed.GetValue(_seed),
    };

    public EngineOptions Engine(ParseResult parsed)
    {
        var session = parsed.GetRequiredValue(_session);
        return new EngineOptions
        {
            Session = session,
            Precision = parsed.GetRequiredValue(_precision),
            Provider = parsed.GetRequiredValue(_provider),
            Slots = parsed.GetValue(_slots) ?? Math.Min(new EngineOptions().Slots, session == "genai" ? EngineOptions.MostGenAiSlots : int.MaxValue),
            MaxSequenceLength = parsed.GetValue(_maxSequenceLength),
        }.Validated();
    }

    public int? Threads(ParseResult parsed) => parsed.GetValue(_threads) switch
    {
        < 1 => throw new UserErrorException("--threads is below 1", "at least 1", "Correct the command line"),
        var threads => threads,
    };
}
