using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>
/// TRL's loss options in ours. Every option of a case must be known here; what we deliberately do otherwise is a rule with its
/// reason (docs/numerics.md lists them), never the name of a case.
/// </summary>
internal static class TrlTranslation
{
    /// <summary>TRL does not clamp log-ratios; exp(700) is still a number.</summary>
    private const double WidestClamp = 700;

    /// <summary>Where our mismatch weights clamp logarithms and TRL's do not.</summary>
    private const double CorrectionClamp = 20;

    private static readonly string[] KnownOptions =
    [
        "loss_type", "importance_sampling_level", "epsilon_low", "epsilon_high", "delta", "beta", "use_bias_correction_kl", "sapo_temperature_pos", "sapo_temperature_neg",
        "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", "off_policy_mask_threshold", "off_policy_uses_sampling", "top_entropy_quantile", "entropy_coef",
        "max_completion_length", "num_items_in_batch", "steps_per_generation", "current_gradient_accumulation_steps", "vllm_importance_sampling_mode",
        "vllm_importance_sampling_clip_min", "vllm_importance_sampling_clip_max", "old_logps_given", "class_",
    ];

    public static (LibraryCase? Case, string? Reason) Translate(JsonElement options, LibraryBatch batch)
    {
        foreach (JsonProperty option in options.EnumerateObject())
            if (!KnownOptions.Contains(option.Name, StringComparer.Ordinal)) return (null, $"option {option.Name} of TRL is not known here");
        double[] anchor = options.GetProperty("old_logps_given").GetBoolean() ? batch.Old : batch.LogProbs;
        if (batch.LargestDifference(batch.LogProbs, anchor) > WidestClamp) return (null, "TRL exponentiates log-ratios without a clamp and gets infinities; ours are clamped");
        (ObjectiveOptions? term, string? reason) = Term(options, batch);
        if (term is null) return (null, reason);
        if (options.Find("vllm_importance_sampling_mode") is { } mode)
        {
            if (batch.LargestRowSum(batch.Old, batch.Sampler) > CorrectionClamp) return (null, "TRL's mismatch weights have no clamp, ours clamp the log-ratio to 20");
            string[] parts = mode.GetString()!.Split('_');
            if (term.Name == "vespo" && parts[0] != "token") return (null, "vespo takes mismatch weights per token");
            term = term with
            {
                Correction = new CorrectionOptions
                {
                    Level = parts[0], Low = options.OptionalNumber("vllm_importance_sampling_clip_min"), High = options.OptionalNumber("vllm_importance_sampling_clip_max"),
                    Action = options.Find("vllm_importance_sampling_clip_min") is null && options.Find("vllm_importance_sampling_clip_max") is null ? "truncate" : parts[1],
                },
            };
        }
        return (new LibraryCase(Around(term, options), Scale(options, batch)), null);
    }

    /// <summary>Which objective, with its own knobs and aggregation.</summary>
    private static (ObjectiveOptions? Options, string? Reason) Term(JsonElement options, LibraryBatch batch)
    {
        string loss = options.GetProperty("loss_type").GetString()!, trainer = options.GetProperty("class_").GetString()!;
        bool sequence = options.GetProperty("importance_sampling_level").GetString() == "sequence";
        double low = options.GetProperty("epsilon_low").Number(), high = options.GetProperty("epsilon_high").Number();
        var common = new ObjectiveOptions { LogRatioClamp = WidestClamp };
        if (trainer == "GMPOTrainer")
            return batch.NonEmptyRows < batch.Totals.Sequences ? (null, "TRL's gmpo lets a completion without tokens add its advantage to the loss") : batch.HasTokenAdvantages ? (null, "gmpo takes one advantage per completion") : (common with { Name = "gmpo", ClipLow = low, ClipHigh = high }, null);
        if (trainer != "GRPOTrainer") return (null, $"{trainer}'s loss is not one of ours");
        switch (loss)
        {
            case "grpo" or "bnpo" or "dr_grpo" or "dapo" or "luspo":
                if (sequence && options.Find("delta") is not null) return (null, "gspo has no two-sided delta");
                return (common with
                {
                    Name = sequence ? "gspo" : "grpo",
                    ClipLow = low,
                    ClipHigh = high,
                    Delta = options.OptionalNumber("delta"),
                    Aggregation = loss switch { "grpo" => "seq-mean-token-mean", "luspo" => "seq-mean-token-sum", "dr_grpo" => "seq-mean-token-sum-norm", _ => "token-mean" },
                    NormConstant = loss == "dr_grpo" ? options.GetProperty("max_completion_length").Number() : null,
                }, null);
            case "cispo":
                return sequence ? (null, "cispo on the completion's ratio is not one of ours") : (common with { Name = "cispo-absolute", RatioMax = high }, null);
            case "sapo":
                return sequence ? (null, "sapo on the completion's ratio is not one of ours")
                    : (common with { TauPositive = options.GetProperty("sapo_temperature_pos").Number(), TauNegative = options.GetProperty("sapo_temperature_neg").Number() }, null);
            case "vespo":
                return (new ObjectiveOptions
                {
                    Name = "vespo",
                    KPositive = options.GetProperty("vespo_k_pos").Number(),
                    LambdaPositive = options.GetProperty("vespo_lambda_pos").Number(),
                    KNegative = options.GetProperty("vespo_k_neg").Number(),
                    LambdaNegative = options.GetProperty("vespo_lambda_neg").Number(),
                }, null);
            default:
                return (null, $"loss {loss} is not one of ours");
        }
    }

    /// <summary>KL, masks and entropy.</summary>
    private static ObjectiveOptions Around(ObjectiveOptions term, JsonElement options)
    {
        double beta = options.GetProperty("beta").Number(), entropy = options.GetProperty("entropy_coef").Number(), top = options.GetProperty("top_entropy_quantile").Number();
        bool corrected = options.GetProperty("use_bias_correction_kl").GetBoolean();
        return term with
        {
            Kl = beta == 0 ? null : new KlOptions { Kind = "k3", Beta = beta, RatioCorrected = corrected ? options.GetProperty("importance_sampling_level").GetString() : null },
            OffPolicyThreshold = options.OptionalNumber("off_policy_mask_threshold"),
            OffPolicyAgainst = options.OptionalNumber("off_policy_mask_threshold") is null ? null : options.GetProperty("off_policy_uses_sampling").GetBoolean() ? "sampler" : "anchor",
            TopEntropyFraction = top < 1 ? top : null,
            EntropyBonus = entropy == 0 ? null : new EntropyBonusOptions { Coefficient = entropy },
        };
    }

    /// <summary>
    /// dapo, cispo and vespo divide by the rollout's tokens per optimizer step, the others by their own counts and by the number
    /// of accumulated steps.
    /// </summary>
    private static double Scale(JsonElement options, LibraryBatch batch)
    {
        double accumulated = options.GetProperty("current_gradient_accumulation_steps").Number();
        if (options.GetProperty("loss_type").GetString() is not ("dapo" or "cispo" or "vespo")) return 1 / accumulated;
        return batch.Totals.Tokens / (options.GetProperty("num_items_in_batch").Number() * accumulated / options.GetProperty("steps_per_generation").Number());
    }
}
