// Before a run takes any memory or writes any file: what it will need, from its run file, its model's configuration and its first
// prompts, against what there is.
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Learner.Objectives;
using Sapo.Rollout;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Memory;

/// <summary>Predicts a run's memory.</summary>
public static class MemoryPreflight
{
    /// <summary>Prompts whose longest is taken for the longest of the run.</summary>
    private const int PromptsLookedAt = 256;

    private const string AdapterWeights = "adapter_model.safetensors";

    private const double Gibi = 1 << 30;

    /// <summary>What a run will need at its peak, every completion being as long as it may.</summary>
    /// <param name="options">The run.</param>
    /// <exception cref="UserErrorException">Its model or its task cannot be read, or a prompt is longer than a sequence may be.</exception>
    public static MemoryPlan Plan(RunOptions options)
    {
        var config = options.Model.Create?.ToConfig(AdditionTokens.Begin, AdditionTokens.End, AdditionTokens.Pad) ?? ModelConfigReader.Read(options.Model.Folder!);
        var (prompts, size, fresh) = (options.Rollout.PromptsPerStep, options.Rollout.GroupSize, options.Rollout.MaxNewTokens);
        var prompt = LongestPrompt(options);
        CheckLength(options, config, prompt);
        var groups = (prompts + options.Learner.MiniBatches - 1) / options.Learner.MiniBatches;
        var trained = AdapterParameters(options.Model) ?? LearnerFootprint.TrainedParameters(config, options.Learner);
        var learner = LearnerFootprint.Of(
            config, options.Learner, new MiniBatchShape(groups, size, prompt, Math.Max(1, Math.Min(fresh, config.MaxPositions - prompt))), trained, ReferenceParameters(options, trained));
        var copies = PreferenceBytes(options, learner) + OldPolicyBytes(options, config, targets: (long)prompts * size * fresh);
        learner = learner with { CopyBytes = learner.CopyBytes + copies };
        return MemoryPlan.Of(learner, EngineFootprint.Of(config, options.Engine, (long)prompts * size, prompt + fresh));
    }

    /// <summary>Refuses a run that needs more than there is.</summary>
    /// <param name="options">The run.</param>
    /// <param name="memory">The machine's memory, or the container's.</param>
    /// <returns>What it will need.</returns>
    /// <exception cref="UserErrorException">It does not fit.</exception>
    public static MemoryPlan Check(RunOptions options, MemoryState memory)
    {
        var plan = Plan(options);
        var (limit, whose) = options.MemoryLimitGiB is { } gibibytes ? ((long)(gibibytes * Gibi), "memoryLimitGiB") : (memory.TotalBytes, "the memory of this machine");
        if (limit <= 0 || plan.TotalBytes <= limit) return plan;
        throw new UserErrorException($"The run needs {plan} at its peak", $"at most {MemoryPlan.Size(limit)}, {whose}", Remedy(options, plan));
    }

    private static string Remedy(RunOptions options, MemoryPlan plan)
    {
        long Of(params string[] names) => plan.Parts.Where(part => names.Contains(part.Name)).Sum(part => part.Bytes);
        var (step, lasting, caches) = (Of("activations", "head", "backward pass"), Of("gradients", "moments", "copies of the policy"), Of("keys and values"));
        if (caches >= Math.Max(step, lasting)) return "Lower engine.slots or rollout.maxNewTokens";
        if (step >= lasting)
            return options.Learner.ActivationCheckpointing ? "Lower learner.maxTokensPerMicroBatch" : "Set learner.activationCheckpointing to true, or lower learner.maxTokensPerMicroBatch";
        return options.Learner.Lora is null && options.Model.Adapter is null ? "Train an adapter (learner.lora), or take a smaller model" : "Take a smaller model";
    }

    /// <summary>A preference stage has a reference and moments of its own.</summary>
    private static long PreferenceBytes(RunOptions options, LearnerFootprint learner) => options.Preferences is null ? 0 : learner.GradientBytes + learner.MomentBytes;

    /// <summary>Where whole distributions are compared, the old policy's projection and its inputs are kept for a step.</summary>
    private static long OldPolicyBytes(RunOptions options, ModelConfig config, long targets) =>
        ObjectiveRegistry.Create(options.Objective, config.VocabSize).Distributions is { ComparesWithOldPolicy: true } ? sizeof(float) * (config.VocabSize + targets) * config.HiddenSize : 0;

    private static long? AdapterParameters(ModelOptions model)
    {
        if (model.Adapter is not { } folder) return null;
        var file = new FileInfo(Path.Combine(folder, AdapterWeights));
        return file.Exists ? file.Length / sizeof(float) : null;
    }

    /// <summary>What a reference policy holds of its own: a copy of what is trained, another model's weights, or nothing where it is an adapter's base.</summary>
    private static long ReferenceParameters(RunOptions options, long trained)
    {
        if (options.Objective.Kl is not { } kl) return 0;
        if (kl.Reference is not { } folder) return trained;
        var isAdapted = options.Learner.Lora is not null || options.Model.Adapter is not null;
        return isAdapted && folder == options.Model.Folder ? 0 : ModelConfigReader.Read(folder).ParameterCount;
    }

    private static void CheckLength(RunOptions options, ModelConfig config, int prompt)
    {
        var (room, whose) = options.Engine.MaxSequenceLength is { } given && given < config.MaxPositions ? (given, "engine.maxSequenceLength") : (config.MaxPositions, "the model's limit");
        if (prompt >= room)
            throw new UserErrorException($"A prompt of the task has {prompt:N0} tokens", $"at most {room - 1:N0}: a sequence may have {room:N0}, {whose}, and one must be left to sample", "Raise engine.maxSequenceLength where the model allows more, or shorten the prompts");
    }

    private static int LongestPrompt(RunOptions options)
    {
        var task = options.Task is AdditionTaskOptions
            ? new AdditionTask(options.Seed)
            : TrainingTasks.Create(options.Task, options.Seed, HuggingFaceTokenizer.Load(options.Model.Folder!), options.Model.Folder!);
        return Enumerable.Range(0, PromptsLookedAt).Max(number => task.TrainingPrompt(number).TokenIds.Length);
    }
}
