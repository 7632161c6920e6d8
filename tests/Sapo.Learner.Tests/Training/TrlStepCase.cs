using System.Text.Json;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Objectives;

namespace Sapo.Learner.Tests.Training;

/// <summary>One case of golden/step/grpo in our options: TRL's conventions where they differ from ours are spelled out here.</summary>
internal sealed class TrlStepCase(JsonElement root)
{
    private const double WidestClamp = 700; // TRL does not clamp log-ratios; exp(700) is still a number

    private const double AdvantageEpsilon = 1e-4; // TRL's; ours is 1e-6

    // AdamW without memory and with a huge epsilon is plain gradient descent: p -= (lr * E) * g / (|g| + E), to 1e-8 relative.
    private const double SgdEpsilon = 1e8;

    private static readonly string[] KnownOptions =
    [
        "loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "delta", "sapo_temperature_pos", "sapo_temperature_neg", "beta", "use_bias_correction_kl", "temperature",
        "scale_rewards", "num_generations", "per_device_train_batch_size", "steps_per_generation", "gradient_accumulation_steps", "num_iterations", "max_completion_length",
        "mask_truncated_completions", "off_policy_mask_threshold", "max_grad_norm", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "seed", "optim",
        "lr_scheduler_type", "warmup_steps", "sampler_correction",
    ];

    private readonly JsonElement _options = root.GetProperty("options");

    public bool IsSgd => Text("optim") == "sgd";

    public bool UsesSampler => _options.Find("sampler_correction") is not null || _options.Find("off_policy_mask_threshold") is not null;

    /// <summary>What dapo and cispo divide by; set for each rollout.</summary>
    public double? TokensPerStep { get; set; }

    public AdamWOptions Optimizer => new()
    {
        Beta1 = IsSgd ? 0 : Number("adam_beta1"), Beta2 = IsSgd ? 0 : Number("adam_beta2"), Epsilon = IsSgd ? SgdEpsilon : Number("adam_epsilon"),
        WeightDecay = Number("weight_decay"), MaxGradientNorm = Number("max_grad_norm"),
    };

    public static LearnerOptions Learner => new() { Anchor = LearnerOptions.RecomputedAnchor };

    /// <summary>Why a case cannot be told in our options; null if it can.</summary>
    public static string? Unsupported(JsonElement root)
    {
        var one = new TrlStepCase(root);
        if (one.Text("optim") is not ("adamw_torch" or "sgd")) return $"optimizer {one.Text("optim")} is not offered";
        if (one.IsSgd && one.Number("weight_decay") != 0) return "gradient descent with weight decay is not offered";
        if (root.GetProperty("options").EnumerateObject().Select(option => option.Name).Except(KnownOptions, StringComparer.Ordinal).FirstOrDefault() is { } unknown) return $"option {unknown} of TRL is not known here";
        if (one.Text("loss_type") is not ("sapo" or "grpo" or "bnpo" or "dapo" or "dr_grpo" or "cispo")) return $"loss {one.Text("loss_type")} is not one of ours";
        if (one.Text("loss_type") == "bnpo" && one.Number("gradient_accumulation_steps") != 1) return "bnpo counts tokens per micro-batch";
        if (one.Text("importance_sampling_level") == "sequence" && one.Text("loss_type") is "sapo" or "cispo") return $"{one.Text("loss_type")} on the completion's ratio is not one of ours";
        if (one.Text("importance_sampling_level") == "sequence" && one._options.Find("delta") is not null) return "gspo has no two-sided delta";
        foreach (var rollout in root.GetProperty("steps").EnumerateArray().GroupBy(step => step.GetProperty("micro_batches")[0].GetProperty("rollout").GetInt32()))
            if (rollout.Select(step => step.GetProperty("lr").Number()).Distinct().Count() > 1) return "our learning rate changes between rollouts only";
        return null;
    }

    public IObjective Objective(int vocabulary)
    {
        var loss = Text("loss_type");
        var sequence = Text("importance_sampling_level") == "sequence";
        var options = new ObjectiveOptions
        {
            Name = loss switch { "sapo" => "sapo", "cispo" => "cispo-absolute", _ => sequence ? "gspo" : "grpo" },
            LogRatioClamp = WidestClamp,
            Aggregation = loss switch { "dr_grpo" => "seq-mean-token-sum-norm", "dapo" or "bnpo" or "cispo" => "token-mean", _ => "seq-mean-token-mean" },
            NormConstant = loss == "dr_grpo" ? Number("max_completion_length") : null,
            OffPolicyThreshold = _options.OptionalNumber("off_policy_mask_threshold"),
        };
        options = loss switch
        {
            "sapo" => options with { TauPositive = Number("sapo_temperature_pos"), TauNegative = Number("sapo_temperature_neg") },
            "cispo" => options with { RatioMax = Number("epsilon_high") },
            _ => options with { ClipLow = Number("epsilon"), ClipHigh = Number("epsilon_high"), Delta = _options.OptionalNumber("delta") },
        };
        if (Number("beta") != 0)
            options = options with { Kl = new KlOptions { Kind = "k3", Beta = Number("beta"), RatioCorrected = _options.GetProperty("use_bias_correction_kl").GetBoolean() ? Text("importance_sampling_level") : null } };
        if (_options.Find("sampler_correction") is { } correction)
        {
            var mode = correction.GetProperty("mode").GetString()!.Split('_');
            options = options with
            {
                Correction = new CorrectionOptions
                {
                    Level = mode[0], Low = correction.OptionalNumber("clip_min"), High = correction.OptionalNumber("clip_max"),
                    Action = correction.Find("clip_min") is null && correction.Find("clip_max") is null ? "truncate" : mode[1],
                },
            };
        }
        var objective = ObjectiveRegistry.Create(options, vocabulary);
        return loss is "dapo" or "cispo" ? new DividedByTheRolloutsMean(objective, this) : objective;
    }

    /// <summary>dapo and cispo: the rollout's tokens per optimizer step, not those of the step itself.</summary>
    public double MeanTokensPerStep(JsonElement rollout) =>
        rollout.GetProperty("num_items_in_batch").Number() * Number("gradient_accumulation_steps") / Number("steps_per_generation");

    /// <summary>The learning rate of some steps, all the same.</summary>
    public double LearningRate(IReadOnlyList<JsonElement> steps) => steps.Select(step => step.GetProperty("lr").Number()).Distinct().Single() * (IsSgd ? SgdEpsilon : 1);

    /// <summary>The rows of a rollout, with our own advantages.</summary>
    public TrainingRow[] Rows(JsonElement rollout, Action<double, double> checkAdvantage)
    {
        var groupSize = (int)Number("num_generations");
        var (prompts, completions, rewards) = (Ids(rollout.GetProperty("prompts")), Ids(rollout.GetProperty("completions")), rollout.GetProperty("rewards").Flat());
        var scale = Text("scale_rewards") switch { "group" => AdvantageScale.Group, "batch" => AdvantageScale.Batch, _ => AdvantageScale.None };
        var advantages = new GroupAdvantage("grpo", scale, AdvantageEpsilon).Estimate(new AdvantageInput(
            [.. rewards.Chunk(groupSize).Select((group, index) => new AdvantageGroup { PromptId = index.ToString(), Rewards = [.. group.Select(reward => new double?[] { reward })] })]));
        double[] flat = [.. advantages.Sequence.SelectMany(group => group)];
        var masks = _options.GetProperty("mask_truncated_completions").GetBoolean();
        var ended = rollout.GetProperty("ends_with_eos").Flags();
        var sampler = rollout.GetProperty("sampler_logps").EnumerateArray().Select(row => Array.ConvertAll(row.Flat(), value => (float)value)).ToArray();
        return [.. completions.Select((tokens, row) =>
        {
            checkAdvantage(rollout.GetProperty("advantages")[row].Number(), flat[row]);
            return new TrainingRow(
                prompts[row / groupSize * groupSize], new TokenRow(tokens), Number("temperature"), sampler[row], [.. tokens.Select(_ => flat[row])], masks && !ended[row]);
        })];
    }

    /// <summary>An optimizer step's rows, in TRL's shuffled order, all its micro-batches together.</summary>
    public static MiniBatch MiniBatchOf(JsonElement step, TrainingRow[] rows) =>
        new([.. step.GetProperty("micro_batches").EnumerateArray().SelectMany(part => part.GetProperty("rows").Flat()).Select(row => rows[(int)row])]);

    private static int[][] Ids(JsonElement rows) => [.. rows.EnumerateArray().Select(row => row.Flat().Select(id => (int)id).ToArray())];

    private string Text(string name) => _options.GetProperty(name).GetString()!;

    private double Number(string name) => _options.GetProperty(name).Number();

    /// <summary>J * T / N: TRL's denominator in place of ours.</summary>
    private sealed class DividedByTheRolloutsMean(IObjective inner, TrlStepCase one) : ObjectiveDecorator(inner)
    {
        public override ObjectiveResult Evaluate(ObjectiveBatch batch)
        {
            var result = base.Evaluate(batch);
            var factor = batch.Totals.Tokens / one.TokensPerStep!.Value;
            return result with { Value = factor * result.Value, Gradient = Array.ConvertAll(result.Gradient, slope => factor * slope) };
        }
    }
}
