using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Memory;
using Sapo.Learner;

namespace Sapo.Hybrid.Profiling;

/// <summary>What a learner is given while it is measured: groups of made-up completions, every second one rewarded.</summary>
public sealed record LearnerWorkload
{
    /// <summary>Prompts.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Completions per prompt.</summary>
    public int GroupSize { get; init; } = 8;

    /// <summary>Tokens of each prompt.</summary>
    public int PromptTokens { get; init; } = 256;

    /// <summary>Tokens of each completion.</summary>
    public int NewTokens { get; init; } = 64;

    /// <summary>Steps timed for each layout, after one that is not.</summary>
    public int Steps { get; init; } = 5;

    /// <summary>Most tokens computed at once.</summary>
    public int MaxTokensPerMicroBatch { get; init; } = 16384;

    /// <summary>fp32 or bf16: see <see cref="LearnerOptions.Dtype"/>.</summary>
    public string Dtype { get; init; } = LearnerOptions.FullDtype;

    /// <summary>See <see cref="LearnerOptions.ActivationCheckpointing"/>.</summary>
    public bool ActivationCheckpointing { get; init; }

    /// <summary>Completion tokens of a step.</summary>
    public long Tokens => (long)Groups * GroupSize * NewTokens;

    /// <summary>Tokens that pass the layers when every prompt is computed once; the last token of a completion predicts nothing.</summary>
    public long SharedTokens => Groups * (PromptTokens + (long)GroupSize * (NewTokens - 1));

    /// <summary>Tokens that pass the layers when the prompt is repeated for every completion.</summary>
    public long RepeatedTokens => (long)Groups * GroupSize * (PromptTokens + NewTokens - 1);

    /// <summary>Checks every value once.</summary>
    /// <exception cref="UserErrorException">A value is below 1, or there is a single completion: nothing can be learned from it.</exception>
    public LearnerWorkload Validated()
    {
        foreach (var (name, value) in new[] { ("groups", Groups), ("group", GroupSize), ("prompt", PromptTokens), ("new", NewTokens), ("steps", Steps), ("max-tokens-per-micro-batch", MaxTokensPerMicroBatch) })
            if (value < 1) throw new UserErrorException($"--{name} is {value}", "at least 1", "Correct the command line");
        ToOptions().Validated();
        if (Groups * GroupSize < 2) throw new UserErrorException("--groups and --group make a single completion", "at least two", "Raise one of them");
        return this;
    }

    /// <summary>The learner's options: one optimizer step per batch.</summary>
    public LearnerOptions ToOptions() =>
        new() { MiniBatches = 1, MaxTokensPerMicroBatch = MaxTokensPerMicroBatch, Dtype = Dtype, ActivationCheckpointing = ActivationCheckpointing };

    /// <summary>The optimizer step's shape.</summary>
    /// <param name="shared">Whether a prompt's completions form a group.</param>
    public MiniBatchShape ToShape(bool shared) => shared ? new(Groups, GroupSize, PromptTokens, NewTokens) : new(Groups * GroupSize, 1, PromptTokens, NewTokens);
}

/// <summary>One part of a step.</summary>
/// <param name="Name">forward, head (both directions), backward, optimizer, objective, anchor, or host: what none of them covers.</param>
/// <param name="Seconds">In the fastest step.</param>
/// <param name="Share">Of that step.</param>
/// <param name="TokensPerSecond">Tokens computed per second of this part.</param>
public sealed record LearnerPhase(string Name, double Seconds, double Share, double TokensPerSecond);

/// <summary>Physical memory during one step; the lasting parts are known, the rest is what is above them.</summary>
/// <param name="BaseBytes">Resident before the learner was made.</param>
/// <param name="WeightBytes">The weights.</param>
/// <param name="GradientBytes">The gradients.</param>
/// <param name="MomentBytes">The optimizer's two moments.</param>
/// <param name="PeakBytes">Most bytes resident during the step; null where the system does not say.</param>
/// <param name="Predicted">What a preflight says of the same step, by part, from the options alone but for the base.</param>
public sealed record LearnerMemory(long BaseBytes, long WeightBytes, long GradientBytes, long MomentBytes, long? PeakBytes, MemoryPlan Predicted)
{
    /// <summary>Activations and buffers: the peak less everything else; null without a peak.</summary>
    public long? ActivationBytes => PeakBytes is { } peak ? Math.Max(0, peak - BaseBytes - WeightBytes - GradientBytes - MomentBytes) : null;
}

/// <summary>One layout of the same completions.</summary>
public sealed record LearnerPoint
{
    /// <summary>shared: each prompt is computed once per group; repeated: once per completion.</summary>
    public required string Prompts { get; init; }

    /// <summary>Completion tokens of a step.</summary>
    public required long Tokens { get; init; }

    /// <summary>Tokens that went forward and backward.</summary>
    public required long ComputedTokens { get; init; }

    /// <summary>Seconds of the fastest step: whatever else runs on the machine can only slow one down.</summary>
    public required double Seconds { get; init; }

    /// <summary>Its parts; their seconds add up to it.</summary>
    public required IReadOnlyList<LearnerPhase> Phases { get; init; }

    /// <summary>Floating-point operations of its matrix products.</summary>
    public required double Flops { get; init; }

    /// <summary>Further operations that repeating prompts would have cost.</summary>
    public required double FlopsSaved { get; init; }

    /// <summary>Share of the machine's matrix rate that the step reached.</summary>
    public required double ShareOfMatrixRate { get; init; }

    /// <summary>Memory of a step.</summary>
    public required LearnerMemory Memory { get; init; }

    /// <summary>Completion tokens per second of a whole step.</summary>
    public double TokensPerSecond => Tokens / Seconds;

    /// <summary>Computed tokens per second of a whole step.</summary>
    public double ComputedTokensPerSecond => ComputedTokens / Seconds;
}

/// <summary>A learner's profile: the content of learner.json.</summary>
/// <param name="Context">Machine and versions.</param>
/// <param name="Limits">What the machine can do.</param>
/// <param name="Model">The model.</param>
/// <param name="Workload">What was learned.</param>
/// <param name="Shared">With each prompt computed once per group.</param>
/// <param name="Repeated">With the prompt repeated for every completion.</param>
public sealed record LearnerProfile(ProfileContext Context, MachineLimits Limits, ProfiledModelInfo Model, LearnerWorkload Workload, LearnerPoint Shared, LearnerPoint Repeated)
{
    /// <summary>How many times as fast the shared layout learns the same completions.</summary>
    public double SharingGain => Repeated.Seconds / Shared.Seconds;
}
