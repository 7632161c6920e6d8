using System.Globalization;
using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>verl's loss options in ours, with the same rules as <see cref="TrlTranslation"/>.</summary>
internal static class VerlTranslation
{
    /// <summary>Where verl's losses have no clamp on the token's log-ratio.</summary>
    private const double WidestClamp = 700;

    /// <summary>verl's clamp on gspo's mean log-ratio; ours has none at that place.</summary>
    private const double GspoClamp = 10;

    private static readonly string[] KnownOptions =
    [
        "loss", "loss_agg_mode", "clip_ratio", "clip_ratio_low", "clip_ratio_high", "clip_ratio_c", "tau_pos", "tau_neg", "loss_scale_factor", "batch_num_tokens", "global_batch_size",
        "weights", "policy_loss", "rollout_correction",
    ];

    public static (LibraryCase? Case, string? Reason) Translate(JsonElement options, LibraryBatch batch)
    {
        foreach (JsonProperty option in options.EnumerateObject())
            if (!KnownOptions.Contains(option.Name, StringComparer.Ordinal)) return (null, $"option {option.Name} of verl is not known here");
        (ObjectiveOptions? term, string? reason) = Term(options, batch);
        if (term is null) return (null, reason);
        if (options.Find("weights") is { } weights)
        {
            if (term.Name == "gmpo") return (null, "verl's geo_mean takes the geometric mean of the mismatch weights, ours their mean");
            term = term with { Correction = Correction(weights) };
        }
        (string? aggregation, double scale, reason) = Aggregation(term, options, batch);
        if (aggregation is null) return (null, reason);
        double? constant = aggregation == "seq-mean-token-sum-norm" ? options.OptionalNumber("loss_scale_factor") ?? batch.Width : null;
        return (new LibraryCase(term with { Aggregation = aggregation, NormConstant = constant }, scale), null);
    }

    /// <summary>TIS and IcePop: a number truncates, "low_high" masks.</summary>
    public static CorrectionOptions Correction(JsonElement weights)
    {
        JsonElement threshold = weights.GetProperty("rollout_is_threshold");
        double[] bounds = Bounds(threshold);
        return new CorrectionOptions
        {
            Level = weights.GetProperty("rollout_is").GetString()!,
            Action = bounds.Length == 2 ? "mask" : "truncate",
            Low = bounds.Length == 2 ? bounds[0] : null,
            High = bounds[^1],
        };
    }

    /// <summary>A threshold: one number, or "low_high".</summary>
    public static double[] Bounds(JsonElement threshold) => threshold.ValueKind == JsonValueKind.String
        ? [.. threshold.GetString()!.Split('_').Select(part => double.Parse(part, CultureInfo.InvariantCulture))]
        : [threshold.Number()];

    private static (ObjectiveOptions? Options, string? Reason) Term(JsonElement options, LibraryBatch batch)
    {
        string loss = options.GetProperty("loss").GetString()!;
        double low = options.GetProperty("clip_ratio_low").Number(), high = options.GetProperty("clip_ratio_high").Number(), cap = options.GetProperty("clip_ratio_c").Number();
        ObjectiveOptions clipped = new() { Name = "grpo", ClipLow = low, ClipHigh = high, DualClip = cap };
        switch (loss)
        {
            case "vanilla":
                return (clipped, null);
            case "bypass_mode":
                JsonElement correction = options.GetProperty("rollout_correction");
                if (correction.GetProperty("loss_type").GetString() != "ppo_clip") return (null, "verl's reinforce loss is not one of ours");
                return correction.Find("rollout_rs") is null ? (clipped, null) : (null, "rejection edits verl's mask and its counts, ours keeps the counts");
            case "gspo":
                return batch.LargestDifference(batch.LogProbs, batch.Old) > GspoClamp ? (null, "verl clamps gspo's mean log-ratio at 10, ours each token's at 20")
                    : (clipped with { Name = "gspo-token", DualClip = null }, null);
            case "sapo":
                return (new ObjectiveOptions { TauPositive = options.GetProperty("tau_pos").Number(), TauNegative = options.GetProperty("tau_neg").Number() }, null);
            case "cispo":
                return (new ObjectiveOptions { Name = "cispo", ClipLow = low, ClipHigh = high }, null);
            case "geo_mean":
                if (batch.HasTokenAdvantages) return (null, "gmpo takes one advantage per completion");
                return batch.LargestDifference(batch.LogProbs, batch.Old) > WidestClamp ? (null, "verl exponentiates geo_mean's log-ratios without a clamp")
                    : (new ObjectiveOptions { Name = "gmpo", ClipLow = low, ClipHigh = high, LogRatioClamp = WidestClamp }, null);
            case "dppo_tv" or "dppo_kl":
                return (new ObjectiveOptions { Name = "dppo", Divergence = loss == "dppo_tv" ? "binary-tv" : "binary-kl", DeltaLow = low, DeltaHigh = high, RatioCap = cap }, null);
            default:
                return (null, $"loss {loss} is not one of ours");
        }
    }

    /// <summary>Our aggregation and the ratio of our count to verl's, which leaves empty rows out unless it is told the batch size.</summary>
    private static (string? Aggregation, double Scale, string? Reason) Aggregation(ObjectiveOptions term, JsonElement options, LibraryBatch batch)
    {
        if (term.Name == "gmpo") return ("seq-mean-token-mean", 1, null); // verl's geo_mean ignores mode and counts
        string mode = term.Name == "sapo" ? "seq-mean-token-mean" : options.GetProperty("loss_agg_mode").GetString()!;
        if (mode == "token-sum") return (null, 0, "aggregation token-sum is not one of ours");
        double scale = mode == "token-mean"
            ? batch.Totals.Tokens / (options.OptionalNumber("batch_num_tokens") ?? batch.Totals.Tokens)
            : batch.Totals.Sequences / (options.OptionalNumber("global_batch_size") ?? batch.NonEmptyRows);
        return (mode, scale, null);
    }
}
