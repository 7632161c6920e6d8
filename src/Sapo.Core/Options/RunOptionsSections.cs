// The sections of a run file that belong to no other component; engine and learner have files of their own.
using System.Text.Json.Serialization;

namespace Sapo.Core.Options;

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
    /// What a completion without an answer (cut off by the token limit or, with <c>math</c>, without a final answer) is:
    /// <c>wrong</c>, or the reward may <c>abstain</c>, which leaves it out of its group (ESPO's verified-only groups). Default wrong.
    /// </summary>
    public string Unanswered { get; init; } = "wrong";

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
        OptionCheck.OneOf("task.unanswered", Unanswered, "wrong", "abstain");
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

    /// <summary>Min-p before top-k and top-p, as vLLM applies them, instead of behind. Default false.</summary>
    public bool MinPFirst { get; init; }

    /// <summary>Makes tokens that were there before less likely, see <see cref="SamplingOptions.RepetitionPenalty"/>; 1 (the default) is off. The learner does not know of penalties: they bias training.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>The same by how often the completion holds a token; 0 (the default) is off.</summary>
    public double FrequencyPenalty { get; init; }

    /// <summary>The same where the completion holds a token at all; 0 (the default) is off.</summary>
    public double PresencePenalty { get; init; }

    /// <summary>Most tokens per completion, stop token included. Default 256.</summary>
    public int MaxNewTokens { get; init; } = 256;

    /// <summary>Texts that end a completion as soon as they appear in it. Default none.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>A punishment of long completions; null (the default) for none.</summary>
    public OverlongOptions? Overlong { get; init; }

    /// <summary>How tokens are drawn in training.</summary>
    public SamplingOptions ToSampling(long seed) => new()
    {
        Temperature = Temperature, TopK = TopK, TopP = TopP, MinP = MinP, MinPFirst = MinPFirst, RepetitionPenalty = RepetitionPenalty, FrequencyPenalty = FrequencyPenalty,
        PresencePenalty = PresencePenalty, MaxNewTokens = MaxNewTokens, StopStrings = StopStrings, Seed = seed,
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
        OptionCheck.Holds(double.IsFinite(RepetitionPenalty) && RepetitionPenalty > 0, "rollout.repetitionPenalty", RepetitionPenalty, "a finite number above 0");
        OptionCheck.Holds(FrequencyPenalty is >= -2 and <= 2, "rollout.frequencyPenalty", FrequencyPenalty, "-2 to 2");
        OptionCheck.Holds(PresencePenalty is >= -2 and <= 2, "rollout.presencePenalty", PresencePenalty, "-2 to 2");
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
