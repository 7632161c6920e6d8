// The sections of a run file that belong to no other component; engine and learner have files of their own.
using System.Text.Json.Serialization;
using Sapo.Core.Models;

namespace Sapo.Core.Options;

/// <summary>Section <c>model</c>: exactly one of its members.</summary>
public sealed record ModelOptions
{
    /// <summary>A new model with random weights.</summary>
    public ModelCreateOptions? Create { get; init; }

    /// <summary>A Hugging Face folder or a published policy; a relative path is relative to the run file.</summary>
    public string? Folder { get; init; }

    /// <summary>
    /// A low-rank adapter in PEFT's format to go on training, beside <see cref="Folder"/>; a relative path is relative to the run
    /// file. It brings its own ranks, scalings and targets. Default none.
    /// </summary>
    public string? Adapter { get; init; }

    internal void Validate()
    {
        OptionCheck.Holds(Adapter is null or { Length: > 0 }, "model.adapter", "empty", "the path of an adapter's folder");
        OptionCheck.Holds(Adapter is null || Folder is not null, "model.adapter", "given", "null without model.folder, the model it was trained on");
        OptionCheck.Holds(
            (Create is null) != (Folder is null), "model", Create is null ? "without create and folder" : "both create and folder",
            "exactly one of the two");
        Create?.Validate();
        OptionCheck.Holds(Folder is null or { Length: > 0 }, "model.folder", "empty", "the path of a model folder");
    }
}

/// <summary>
/// Section <c>model.create</c>: the architecture of a new model; its vocabulary is the task's. The weights come from
/// the run's seed.
/// </summary>
public sealed record ModelCreateOptions
{
    /// <summary><c>qwen3</c>, <c>qwen2</c> or <c>llama</c>. Default qwen3.</summary>
    public string ModelType { get; init; } = "qwen3";

    /// <summary>Rows of the embedding; at least the task's number of tokens. Default 64.</summary>
    public int VocabSize { get; init; } = 64;

    /// <summary>Width of the residual stream. Default 128.</summary>
    public int HiddenSize { get; init; } = 128;

    /// <summary>Number of layers. Default 4.</summary>
    public int LayerCount { get; init; } = 4;

    /// <summary>Number of query heads. Default 4.</summary>
    public int HeadCount { get; init; } = 4;

    /// <summary>Number of key and value heads; divides headCount. Default 2.</summary>
    public int KeyValueHeadCount { get; init; } = 2;

    /// <summary>Width of a head, a multiple of 16 (what the engine's attention takes). Default 32.</summary>
    public int HeadSize { get; init; } = 32;

    /// <summary>Width of the MLP. Default 384.</summary>
    public int IntermediateSize { get; init; } = 384;

    /// <summary>Longest sequence in tokens. Default 128.</summary>
    public int MaxPositions { get; init; } = 128;

    /// <summary>Base of the rotary frequencies. Default 10000.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Standard deviation of every matrix's normal distribution. Default 0.02.</summary>
    public double InitStd { get; init; } = 0.02;

    /// <summary>The model's configuration; embeddings are tied.</summary>
    public ModelConfig ToConfig(int beginTokenId, int endTokenId, int padTokenId) => new()
    {
        ModelType = ModelType,
        VocabSize = VocabSize,
        HiddenSize = HiddenSize,
        LayerCount = LayerCount,
        HeadCount = HeadCount,
        KeyValueHeadCount = KeyValueHeadCount,
        HeadSize = HeadSize,
        IntermediateSize = IntermediateSize,
        MaxPositions = MaxPositions,
        RopeTheta = RopeTheta,
        TieWordEmbeddings = true,
        QueryKeyValueBias = ModelType == "qwen2",
        QueryKeyNorm = ModelType == "qwen3",
        SlidingWindows = new int?[LayerCount],
        BeginTokenId = beginTokenId,
        EndTokenIds = [endTokenId],
        PadTokenId = padTokenId,
    };

    internal void Validate()
    {
        OptionCheck.Holds(ModelType is "qwen3" or "qwen2" or "llama", "model.create.modelType", ModelType, "qwen3, qwen2 or llama");
        foreach (var (name, value) in new[]
        {
            ("vocabSize", VocabSize), ("hiddenSize", HiddenSize), ("layerCount", LayerCount), ("headCount", HeadCount),
            ("keyValueHeadCount", KeyValueHeadCount), ("intermediateSize", IntermediateSize), ("maxPositions", MaxPositions),
        })
            OptionCheck.Holds(value is >= 1 and <= 1 << 24, $"model.create.{name}", value, "a positive number, at most 16777216");
        OptionCheck.Holds(
            HeadCount % KeyValueHeadCount == 0, "model.create.keyValueHeadCount", KeyValueHeadCount,
            $"a divisor of headCount = {HeadCount}");
        OptionCheck.Holds(
            HeadSize is >= 16 and <= 1024 && HeadSize % 16 == 0, "model.create.headSize", HeadSize, "a multiple of 16, at most 1024");
        OptionCheck.Holds(double.IsFinite(RopeTheta) && RopeTheta > 1, "model.create.ropeTheta", RopeTheta, "a number above 1");
        OptionCheck.Holds(InitStd is > 0 and < 10, "model.create.initStd", InitStd, "above 0 and below 10");
    }
}

/// <summary>Section <c>task</c>: what is asked. Its member <c>kind</c> says which.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind", UnknownDerivedTypeHandling = JsonUnknownDerivedTypeHandling.FailSerialization)]
[JsonDerivedType(typeof(AdditionTaskOptions), "addition")]
[JsonDerivedType(typeof(JsonlTaskOptions), "jsonl")]
public abstract record TaskOptions
{
    private protected TaskOptions()
    {
    }

    internal virtual void Validate()
    {
    }
}

/// <summary><c>"kind": "addition"</c>: two-digit additions, one token per character, made from the seed.</summary>
public sealed record AdditionTaskOptions : TaskOptions;

/// <summary>
/// <c>"kind": "jsonl"</c>: problems from files with one object per line, each with <c>prompt</c> (text; <c>question</c> is
/// the same) or <c>messages</c> (role and content), and with <c>answer</c>.
/// </summary>
public sealed record JsonlTaskOptions : TaskOptions
{
    /// <summary>Training problems, drawn in a new order every epoch; a relative path is relative to the run file.</summary>
    public required string Train { get; init; }

    /// <summary>Held-out problems, taken in order; null if nothing is evaluated.</summary>
    public string? HeldOut { get; init; }

    /// <summary>
    /// <c>exact</c> (the completion, trimmed, equals the answer) or <c>math</c> (the final answer is the same number or
    /// expression). Default math.
    /// </summary>
    public string Reward { get; init; } = "math";

    /// <summary>
    /// True puts a plain prompt into the model's chat template as a user message; false takes it as it is. Messages
    /// always use the template. Default true.
    /// </summary>
    public bool Chat { get; init; } = true;

    /// <summary>A system message before every prompt; null adds none (the template may have its own).</summary>
    public string? SystemMessage { get; init; }

    internal override void Validate()
    {
        OptionCheck.Holds(Train.Length > 0, "task.train", "empty", "the path of a JSONL file");
        OptionCheck.Holds(Reward is "exact" or "math", "task.reward", Reward, "exact or math");
        OptionCheck.Holds(SystemMessage is null || Chat, "task.systemMessage", "given", "null when task.chat is false");
    }
}

/// <summary>
/// Section <c>coldStart</c>: supervised steps on the task's worked examples. AdamW with fresh moments, no weight decay,
/// gradients clipped to norm 1.
/// </summary>
public sealed record ColdStartOptions
{
    /// <summary>Optimizer steps. Default 1300.</summary>
    public int Steps { get; init; } = 1300;

    /// <summary>Fresh examples per step. Default 24.</summary>
    public int BatchSize { get; init; } = 24;

    /// <summary>Peak learning rate. Default 2e-3.</summary>
    public double LearningRate { get; init; } = 2e-3;

    /// <summary>Steps over which the rate rises linearly. Default 20.</summary>
    public int WarmupSteps { get; init; } = 20;

    /// <summary>Where the linear fall ends, as a share of the peak. Default 0.05.</summary>
    public double FinalLearningRateShare { get; init; } = 0.05;

    /// <summary>The rate of one step, from 0: peak * min(1, (step+1)/warmup) * max(final share, 1 - step/steps).</summary>
    public double LearningRateAt(int step) =>
        LearningRate * (WarmupSteps == 0 ? 1 : Math.Min(1, (step + 1.0) / WarmupSteps)) * Math.Max(
            FinalLearningRateShare, 1 - (double)step / Steps);

    internal void Validate()
    {
        OptionCheck.Holds(Steps >= 1, "coldStart.steps", Steps, "at least 1; or coldStart: null for none");
        OptionCheck.Holds(BatchSize >= 1, "coldStart.batchSize", BatchSize, "at least 1");
        OptionCheck.Holds(double.IsFinite(LearningRate) && LearningRate > 0, "coldStart.learningRate", LearningRate, "a positive number");
        OptionCheck.Holds(WarmupSteps >= 0, "coldStart.warmupSteps", WarmupSteps, "0 or more");
        OptionCheck.Holds(FinalLearningRateShare is >= 0 and <= 1, "coldStart.finalLearningRateShare", FinalLearningRateShare, "0 to 1");
    }
}

/// <summary>Section <c>rollout</c>: what one step samples.</summary>
public sealed record RolloutOptions
{
    /// <summary>Prompts per policy step. Default 32.</summary>
    public int PromptsPerStep { get; init; } = 32;

    /// <summary>G: completions per prompt, at least 2 (advantages compare them). Default 8.</summary>
    public int GroupSize { get; init; } = 8;

    /// <summary>Divides the logits; above 0. Default 1.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Keep the k most likely tokens; 0 (the default) keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keep the smallest set of most likely tokens whose probabilities reach this sum. Default 1 keeps all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Keep tokens at least this share as likely as the most likely one. Default 0 keeps all.</summary>
    public double MinP { get; init; }

    /// <summary>Most tokens per completion, stop token included. Default 256.</summary>
    public int MaxNewTokens { get; init; } = 256;

    /// <summary>Texts that end a completion as soon as they appear in it. Default none.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>A punishment of long completions; null (the default) for none.</summary>
    public OverlongOptions? Overlong { get; init; }

    /// <summary>How tokens are drawn in training.</summary>
    public SamplingOptions ToSampling(long seed) => new()
    {
        Temperature = Temperature, TopK = TopK, TopP = TopP, MinP = MinP, MaxNewTokens = MaxNewTokens, StopStrings = StopStrings, Seed = seed,
    };

    internal void Validate()
    {
        OptionCheck.Holds(PromptsPerStep >= 1, "rollout.promptsPerStep", PromptsPerStep, "at least 1");
        OptionCheck.Holds(
            GroupSize >= 2, "rollout.groupSize", GroupSize, "at least 2, since advantages compare the completions of a group");
        OptionCheck.Holds(
            double.IsFinite(Temperature) && Temperature > 0, "rollout.temperature", Temperature,
            "above 0, since greedy completions of a group are all the same");
        OptionCheck.Holds(TopK >= 0, "rollout.topK", TopK, "0 (all tokens) or a positive number");
        OptionCheck.Holds(TopP is > 0 and <= 1, "rollout.topP", TopP, "above 0 and at most 1");
        OptionCheck.Holds(MinP is >= 0 and <= 1, "rollout.minP", MinP, "0 to 1");
        OptionCheck.Holds(MaxNewTokens >= 1, "rollout.maxNewTokens", MaxNewTokens, "at least 1");
        Overlong?.Validate(MaxNewTokens);
        OptionCheck.Holds(
            StopStrings.All(text => text.Length > 0), "rollout.stopStrings", "holding an empty text", "texts of at least one character");
    }
}

/// <summary>Section <c>evaluation</c>: pass@1 on held-out problems, before and after training.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Held-out problems; 0 switches evaluation off. Default 512.</summary>
    public int Problems { get; init; } = 512;

    /// <summary>Completions per problem. Default 1; more give pass@k too.</summary>
    public int Samples { get; init; } = 1;

    /// <summary>Temperature; 0 takes the most likely tokens. Default 1.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Checks every value once, at the edge.</summary>
    /// <exception cref="UserErrorException">A value is out of its range.</exception>
    public EvaluationOptions Validated()
    {
        OptionCheck.Holds(Problems >= 0, "evaluation.problems", Problems, "0 or more");
        OptionCheck.Holds(Samples >= 1, "evaluation.samples", Samples, "at least 1");
        OptionCheck.Holds(double.IsFinite(Temperature) && Temperature >= 0, "evaluation.temperature", Temperature, "0 or more");
        OptionCheck.Holds(
            Temperature > 0 || Samples == 1, "evaluation.samples", Samples, "1 at temperature 0, where all samples are the same");
        return this;
    }
}

/// <summary>Section <c>checkpoint</c>.</summary>
public sealed record CheckpointOptions
{
    /// <summary>
    /// A checkpoint after every so many steps, and always after the last. An interrupted run repeats the steps since.
    /// Default 1.
    /// </summary>
    public int EverySteps { get; init; } = 1;

    /// <summary>How many of the newest checkpoints, with their published policies, are kept. Default 2.</summary>
    public int Keep { get; init; } = 2;

    internal void Validate()
    {
        OptionCheck.Holds(EverySteps >= 1, "checkpoint.everySteps", EverySteps, "at least 1");
        OptionCheck.Holds(Keep >= 1, "checkpoint.keep", Keep, "at least 1");
    }
}

/// <summary>Section <c>log</c>. metrics.jsonl is always written.</summary>
public sealed record LogOptions
{
    /// <summary>Rollouts are written every so many steps; 0 writes none. Default 1.</summary>
    public int RolloutsEverySteps { get; init; } = 1;

    /// <summary>TensorBoard event files beside metrics.jsonl. Default true.</summary>
    public bool TensorBoard { get; init; } = true;

    internal void Validate() => OptionCheck.Holds(RolloutsEverySteps >= 0, "log.rolloutsEverySteps", RolloutsEverySteps, "0 or more");
}
