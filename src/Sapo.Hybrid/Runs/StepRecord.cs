using System.Text.Json.Serialization;
using Sapo.Hybrid.Preferences;
using Sapo.Learner;
using Sapo.Rollout;

namespace Sapo.Hybrid.Runs;

/// <summary>
/// One line of metrics.jsonl: everything a step is judged by. Only <see cref="Time"/> differs when the same run is
/// repeated.
/// </summary>
public sealed record StepRecord
{
    /// <summary>Counted from 1.</summary>
    public required long Step { get; init; }

    /// <summary>The policy version this step led to.</summary>
    public required long Version { get; init; }

    /// <summary>What the rewards said.</summary>
    public required RewardSummary Reward { get; init; }

    /// <summary>What was sampled.</summary>
    public required CompletionSummary Completions { get; init; }

    /// <summary>The newest version that sampled beside the one before it; null while there is one version only.</summary>
    public required VersionComparison? Comparison { get; init; }

    /// <summary>What the learner did.</summary>
    public required LearnerSummary Learner { get; init; }

    /// <summary>The preference stage after the step; null where there was none.</summary>
    public required PreferenceSummary? Preferences { get; init; }

    /// <summary>How far the engine's log-probs of the probe sequences lie from the learner's under the version this step led to.</summary>
    public required LogProbMismatch? Probe { get; init; }

    /// <summary>How long it took.</summary>
    public required StepTime Time { get; init; }
}

/// <summary>The rewards of everything that was sampled for one step, without the punishment of long completions.</summary>
public sealed record RewardSummary
{
    /// <summary>Mean over scored completions; null if none was scored.</summary>
    public required double? Mean { get; init; }

    /// <summary>Share of completions with a reward of at least 1: pass@1 on fresh training problems when rewards are 0 or 1.</summary>
    public required double PassRate { get; init; }

    /// <summary>Share of the groups trained on whose rewards are all equal: nothing is learned from them.</summary>
    public required double GroupsWithoutSignal { get; init; }

    /// <summary>Share of the sampled completions that the run's selection replaced by those of further prompts.</summary>
    public required double WastedShare { get; init; }

    /// <summary>Completions on which a reward function failed; they are not trained on.</summary>
    public required int Failures { get; init; }

    /// <summary>Completions on which all reward functions abstained; they are not trained on.</summary>
    public required int Abstentions { get; init; }

    /// <summary>Share of each way of solving, where the task tells them apart.</summary>
    public required IReadOnlyDictionary<string, double> Styles { get; init; }
}

/// <summary>The completions that one step trained on.</summary>
public sealed record CompletionSummary
{
    /// <summary>How many.</summary>
    public required int Count { get; init; }

    /// <summary>Mean length in tokens, end token included.</summary>
    public required double MeanTokens { get; init; }

    /// <summary>Longest, in tokens.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Share that ended by themselves.</summary>
    public required double EndedShare { get; init; }

    /// <summary>Completions left out of training because more ids were kept than the engine lists (<c>engine.maxKeptIds</c>); 0 without truncation.</summary>
    public required int WithoutKeptIds { get; init; }

    /// <summary>Most versions a group lay behind the learner when it was trained on.</summary>
    public required long MaxStaleness { get; init; }

    /// <summary>Mean over the groups of how many versions they lay behind.</summary>
    public required double MeanStaleness { get; init; }
}

/// <summary>One step of the learner, over all its mini-batches where nothing else is said.</summary>
public sealed record LearnerSummary
{
    /// <summary>Mean value of the objective J that is maximised.</summary>
    public required double Objective { get; init; }

    /// <summary>
    /// Mean entropy of the next-token distribution over the trained completions, in nats; null if nothing was trained
    /// on.
    /// </summary>
    public required double? EntropyNats { get; init; }

    /// <summary>Mean gradient 2-norm before clipping.</summary>
    public required double GradientNorm { get; init; }

    /// <summary>Share of tokens whose gradient the objective cut off.</summary>
    public required double ClippedShare { get; init; }

    /// <summary>Learning rate.</summary>
    public required double LearningRate { get; init; }

    /// <summary>
    /// Learner against sampler, on the first mini-batch, where the weights are those that sampled; null if nothing of
    /// it was computed.
    /// </summary>
    public required MismatchSummary? Mismatch { get; init; }

    /// <summary>The objective's gate weights of tokens with a positive advantage.</summary>
    public required QuantileSummary? GatePositive { get; init; }

    /// <summary>The same where the advantage is negative.</summary>
    public required QuantileSummary? GateNegative { get; init; }

    /// <summary>What the objective itself has to say, averaged over the mini-batches: clip fractions, the share of masked tokens, the KL estimate.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>The optimizer steps, in order: ratios, sequence weights and effective sample shares before any clipping, gradient norm, what was skipped.</summary>
    public required IReadOnlyList<MiniBatchReport> MiniBatches { get; init; }

    /// <summary>Optimizer steps left out because their gradient was not finite.</summary>
    public required int SkippedUpdates { get; init; }

    /// <summary>Completion tokens with a non-zero advantage: those that were trained on.</summary>
    public required long TrainedTokens { get; init; }

    /// <summary>Tokens computed, each group's prompt once.</summary>
    public required long ComputedTokens { get; init; }
}

/// <summary>How far the engine's log-probs lie from the learner's own, for the same weights.</summary>
public sealed record MismatchSummary
{
    /// <summary>Estimate k3 of KL(sampler || learner) per token, in nats; never negative.</summary>
    public required double KlNats { get; init; }

    /// <summary>Largest difference of any token, in nats.</summary>
    public required double MaxNats { get; init; }
}

/// <summary>Three quantiles.</summary>
public sealed record QuantileSummary(double P10, double P50, double P90);

/// <summary>Times and rates of one step.</summary>
public sealed record StepTime
{
    /// <summary>Since the run began, interruptions left out.</summary>
    public required double ElapsedSeconds { get; init; }

    /// <summary>Seconds in each phase.</summary>
    public required IReadOnlyDictionary<string, double> PhaseSeconds { get; init; }

    /// <summary>Seconds of the publish phase that writing the version at the engine's precision took; 0 in 32 bits.</summary>
    public required double PrecisionSeconds { get; init; }

    /// <summary>
    /// Tokens sampled per second of the engine's work since the step before; with a staleness above 0 it works behind
    /// other phases too.
    /// </summary>
    public required double EngineTokensPerSecond { get; init; }

    /// <summary>How the version that sampled the step was switched to; null for a version that the engine was started with.</summary>
    public SwapTime? Swap { get; init; }

    /// <summary>Tokens computed per second of the learn phase.</summary>
    public required double LearnerTokensPerSecond { get; init; }

    /// <summary>Resident memory of the process, in bytes.</summary>
    public required long ResidentBytes { get; init; }
}

/// <summary>A switch of versions, in milliseconds from its beginning unless said.</summary>
public sealed record SwapTime
{
    /// <summary>The version switched to.</summary>
    public required long Version { get; init; }

    /// <summary>How long its session took to build.</summary>
    public required double BuildMilliseconds { get; init; }

    /// <summary>How long its probe took.</summary>
    public required double ProbeMilliseconds { get; init; }

    /// <summary>How long decoding stood still for it: probe and switch.</summary>
    public required double PauseMilliseconds { get; init; }

    /// <summary>When new completions could start on it.</summary>
    public required double ActiveMilliseconds { get; init; }

    /// <summary>When its first decode step was done; in a synchronous run prompts come only after the switch.</summary>
    public required double? FirstTokenMilliseconds { get; init; }

    /// <summary>When steps ran at full speed.</summary>
    public required double? FullSpeedMilliseconds { get; init; }

    /// <summary>What the engine reported.</summary>
    internal static SwapTime? Of(SwapReport? report) => report is null ? null : new SwapTime
    {
        Version = report.Version.Value,
        BuildMilliseconds = report.BuildMilliseconds,
        ProbeMilliseconds = report.ProbeMilliseconds,
        PauseMilliseconds = report.PauseMilliseconds,
        ActiveMilliseconds = report.ActiveMilliseconds,
        FirstTokenMilliseconds = report.FirstTokenMilliseconds,
        FullSpeedMilliseconds = report.FullSpeedMilliseconds,
    };
}

/// <summary>One line of coldstart.jsonl.</summary>
/// <param name="Step">Supervised steps done.</param>
/// <param name="Loss">Mean cross-entropy per completion token, in nats, since the line before.</param>
/// <param name="LearningRate">Of the last step.</param>
/// <param name="Tokens">Tokens computed so far, prompts included.</param>
/// <param name="TokensPerSecond">Since the line before.</param>
public sealed record ColdStartRecord(int Step, double Loss, double LearningRate, long Tokens, double TokensPerSecond);

/// <summary>One completion with what was said of it: a line of a rollouts file.</summary>
public sealed record RolloutRecord
{
    /// <summary>The prompt's number.</summary>
    public required long PromptId { get; init; }

    /// <summary>Index within the group.</summary>
    public required int SampleIndex { get; init; }

    /// <summary>The prompt as text, null where it was given as ids.</summary>
    public required string? Prompt { get; init; }

    /// <summary>The reference answer, if the task has one.</summary>
    public required string? Answer { get; init; }

    /// <summary>The completion as text.</summary>
    public required string Text { get; init; }

    /// <summary>The reward that is trained on; null where a function failed or all abstained.</summary>
    public required double? Reward { get; init; }

    /// <summary>Why there is no reward.</summary>
    public string? Reason { get; init; }

    /// <summary>The policy version that sampled the tokens; the oldest where several did.</summary>
    public required long Version { get; init; }

    /// <summary>Why the completion ended.</summary>
    public required string FinishReason { get; init; }

    /// <summary>The prompt's ids.</summary>
    public required int[] PromptTokenIds { get; init; }

    /// <summary>The sampled ids.</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>Natural log-probs of the distributions drawn from.</summary>
    public required float[] LogProbs { get; init; }
}

/// <summary>Reads and writes what a run folder holds as JSON.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(StepRecord))]
[JsonSerializable(typeof(ColdStartRecord))]
[JsonSerializable(typeof(RolloutRecord))]
[JsonSerializable(typeof(EvaluationResult))]
[JsonSerializable(typeof(CheckpointState))]
[JsonSerializable(typeof(WaitingGroup))]
internal sealed partial class RunJson : JsonSerializerContext;
