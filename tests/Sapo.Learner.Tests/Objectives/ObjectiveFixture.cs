using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>Translates batches and options of golden/objectives into ours.</summary>
internal static class ObjectiveFixture
{
    /// <summary>"No cap" for knobs that have one by default: above any ratio that the clamp lets through.</summary>
    private const double Unbounded = 1e300;

    /// <summary>
    /// Our options for a case, or the reason why there are none. Every option must be understood: a key that is not in the tables
    /// below is a reason too, so that nothing is silently ignored.
    /// </summary>
    public static (ObjectiveOptions? Options, string? Reason) Translate(JsonElement options)
    {
        string name = options.GetProperty("objective").GetString()!;
        if (!Own.TryGetValue(name, out Dictionary<string, Func<ObjectiveOptions, JsonElement, ObjectiveOptions>>? own)) return (null, $"objective {name} is not one of ours");
        var result = new ObjectiveOptions { Name = OurName(name) };
        foreach (JsonProperty option in options.EnumerateObject())
        {
            if (Handled.Contains(option.Name, StringComparer.Ordinal)) continue;
            Func<ObjectiveOptions, JsonElement, ObjectiveOptions>? apply = own.GetValueOrDefault(option.Name) ?? Shared.GetValueOrDefault(option.Name);
            if (apply is null) return (null, $"option {option.Name} of {name} is not one of ours");
            if (!option.Value.IsNull()) result = apply(result, option.Value);
            else if (option.Name == "ratio_cap") result = result with { RatioCap = Unbounded };
            else if (option.Name == "dual_clip" && name == "aspo") result = result with { DualClip = Unbounded };
        }
        return (result, null);
    }

    /// <summary>A batch as ours; <paramref name="options"/> say which anchor, which advantages and which totals.</summary>
    public static ObjectiveBatch Batch(JsonElement batch, JsonElement options, JsonElement? truncated)
    {
        JsonElement[] rows = [.. batch.GetProperty("logp").EnumerateArray()];
        var offsets = new int[rows.Length + 1];
        for (int row = 0; row < rows.Length; row++) offsets[row + 1] = offsets[row] + rows[row].GetArrayLength();
        double[] advantages = options.GetProperty("advantages").GetString() == "token"
            ? batch.GetProperty("token_A").Flat()
            : [.. batch.GetProperty("A").Flat().SelectMany((advantage, row) => Enumerable.Repeat(advantage, offsets[row + 1] - offsets[row]))];
        bool[] mask = batch.GetProperty("mask").Flags();
        if (truncated is { } filter)
            foreach ((double cut, int row) in filter.Flat().Select((cut, row) => (cut, row)))
                if (cut != 0) Array.Clear(mask, offsets[row], offsets[row + 1] - offsets[row]);
        BatchTotals totals = ObjectiveBatch.TotalsOf(offsets, mask);
        return new ObjectiveBatch
        {
            RowOffsets = offsets,
            LogProbs = batch.GetProperty("logp").Flat(),
            AnchorLogProbs = batch.GetProperty(options.GetProperty("anchor").GetString()!).Flat(),
            Advantages = advantages,
            Mask = mask,
            SamplerLogProbs = batch.GetProperty("sampler").Flat(),
            ReferenceLogProbs = batch.GetProperty("ref").Flat(),
            OldEntropies = batch.GetProperty("entropy").Flat(),
            Distributions = batch.Find("topk_mu") is null ? null : Distributions(batch),
            Totals = totals with { Tokens = (long)(options.OptionalNumber("total_tokens") ?? totals.Tokens) },
        };
    }

    private static TokenDistributions Distributions(JsonElement batch)
    {
        double[][] ids = Tokens(batch.GetProperty("topk_ids"));
        double[] sampled = batch.GetProperty("tokens").Flat();
        return new TokenDistributions
        {
            AnchorTopK = Tokens(batch.GetProperty("topk_mu")),
            CurrentTopK = Tokens(batch.GetProperty("topk_pi")),
            SampledInTopK = [.. ids.Select((list, token) => list.Contains(sampled[token]))],
            OldToCurrentKl = batch.GetProperty("kl_old_new").Flat(),
            LogRatioVariance = batch.GetProperty("var_old_z").Flat(),
        };
    }

    /// <summary>[rows][tokens][k] as [all tokens][k].</summary>
    public static double[][] Tokens(JsonElement ragged) => [.. ragged.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(GoldenJson.Flat)];

    private static string OurName(string name) => name switch
    {
        "cispo" => "cispo-absolute",
        _ => name,
    };

    /// <summary>Read by <see cref="Batch"/> or by the caller.</summary>
    private static readonly string[] Handled = ["objective", "anchor", "advantages", "total_tokens", "vocab_size"];

    private static readonly Dictionary<string, Func<ObjectiveOptions, JsonElement, ObjectiveOptions>> Shared = new(StringComparer.Ordinal)
    {
        ["aggregation"] = (o, v) => o with { Aggregation = v.GetString() },
        ["norm_constant"] = (o, v) => o with { NormConstant = v.Number() },
        ["z_clamp"] = (o, v) => o with { LogRatioClamp = v.Number() },
        ["weights"] = (o, v) => o with { Correction = Correction(v) },
        ["kl"] = (o, v) => o with { Kl = new KlOptions { Kind = v.GetProperty("kind").GetString()!, Beta = v.GetProperty("beta").Number(), RatioCorrected = v.GetProperty("ratio_corrected").GetString() } },
    };

    private static readonly Dictionary<string, Func<ObjectiveOptions, JsonElement, ObjectiveOptions>> Clip = new(StringComparer.Ordinal)
    {
        ["clip_low"] = (o, v) => o with { ClipLow = v.Number() },
        ["clip_high"] = (o, v) => o with { ClipHigh = v.Number() },
        ["dual_clip"] = (o, v) => o with { DualClip = v.Number() },
        ["delta"] = (o, v) => o with { Delta = v.Number() },
    };

    private static readonly Dictionary<string, Func<ObjectiveOptions, JsonElement, ObjectiveOptions>> Tau = new(StringComparer.Ordinal)
    {
        ["gate"] = (o, v) => o with { Gate = v.GetString() },
        ["tau_pos"] = (o, v) => o with { TauPositive = v.Number() },
        ["tau_neg"] = (o, v) => o with { TauNegative = v.Number() },
    };

    /// <summary>The knobs of each objective under the names of the reference values.</summary>
    private static readonly Dictionary<string, Dictionary<string, Func<ObjectiveOptions, JsonElement, ObjectiveOptions>>> Own = new(StringComparer.Ordinal)
    {
        ["grpo"] = Clip, ["gspo"] = Clip, ["gspo-token"] = Clip, ["gmpo"] = Clip, ["minpro-soft"] = Clip, ["minpro-hard"] = Clip,
        ["sapo"] = Tau, ["sspo-sigmoid"] = Tau,
        ["sspo-arctan"] = new(StringComparer.Ordinal) { ["k"] = (o, v) => o with { Steepness = v.Number() } },
        ["cispo"] = new(StringComparer.Ordinal)
        {
            ["ratio_min"] = (o, v) => o with { RatioMin = v.Number() },
            ["ratio_max"] = (o, v) => o with { RatioMax = v.Number() },
        },
        ["dppo"] = new(StringComparer.Ordinal)
        {
            ["divergence"] = (o, v) => o with { Divergence = v.GetString() },
            ["delta_low"] = (o, v) => o with { DeltaLow = v.Number() },
            ["delta_high"] = (o, v) => o with { DeltaHigh = v.Number() },
            ["ratio_cap"] = (o, v) => o with { RatioCap = v.Number() },
            ["topk_include_sampled"] = (o, v) => o with { IncludeSampledToken = v.GetBoolean() },
        },
        ["r2vpo"] = new(StringComparer.Ordinal)
        {
            ["lambda"] = (o, v) => o with { Lambda = v.Number() },
            ["delta"] = (o, v) => o with { Delta = v.Number() },
        },
        ["aspo"] = new(Clip, StringComparer.Ordinal)
        {
            ["entropy_clip"] = (o, v) => o with
            {
                EntropyClipQuantile = v.GetProperty("quantile").Number(), EntropyClipLow = v.GetProperty("clip_low").Number(), EntropyClipHigh = v.GetProperty("clip_high").Number(),
            },
        },
        ["espo"] = new(StringComparer.Ordinal)
        {
            ["alpha"] = (o, v) => o with { Alpha = v.Number() },
            ["high_fraction"] = (o, v) => o with { HighEntropyFraction = v.Number() },
            ["reading"] = (o, v) => o with { Reading = v.GetString() },
        },
        ["acpo"] = new(StringComparer.Ordinal)
        {
            ["clip_low"] = (o, v) => o with { ClipLow = v.Number() },
            ["eps_0"] = (o, v) => o with { ClipHighBase = v.Number() },
            ["d_eps"] = (o, v) => o with { ClipHighGain = v.Number() },
            ["eps_min"] = (o, v) => o with { ClipHighMinimum = v.Number() },
            ["eps_max"] = (o, v) => o with { ClipHighMaximum = v.Number() },
        },
        ["bapo"] = new(StringComparer.Ordinal)
        {
            ["order"] = (o, v) => o with { Order = v.GetString()!.Replace('_', '-') },
            ["statistic"] = (o, v) => o with { Statistic = v.GetString() },
            ["contrib"] = (o, v) => o with { Contribution = v.GetString() },
            ["mu_weight"] = (o, v) => o with { SamplerWeighted = v.GetBoolean() },
            ["target"] = (o, v) => o with { Target = v.Number() },
            ["low_start"] = (o, v) => o with { LowStart = v.Number() },
            ["low_step"] = (o, v) => o with { LowStep = v.Number() },
            ["low_max"] = (o, v) => o with { LowMaximum = v.Number() },
            ["high_start"] = (o, v) => o with { HighStart = v.Number() },
            ["high_step"] = (o, v) => o with { HighStep = v.Number() },
            ["high_max"] = (o, v) => o with { HighMaximum = v.Number() },
            ["dual_clip"] = (o, v) => o with { DualClip = v.Number() },
        },
        ["vespo"] = new(StringComparer.Ordinal)
        {
            ["k_pos"] = (o, v) => o with { KPositive = v.Number() },
            ["lambda_pos"] = (o, v) => o with { LambdaPositive = v.Number() },
            ["k_neg"] = (o, v) => o with { KNegative = v.Number() },
            ["lambda_neg"] = (o, v) => o with { LambdaNegative = v.Number() },
        },
        ["guard-text"] = new(Clip, StringComparer.Ordinal)
        {
            ["eps"] = (o, v) => o with { Epsilon = v.Number() },
            ["kappa"] = (o, v) => v.ValueKind == JsonValueKind.String
                ? o with { KappaRule = v.GetString()!.Replace('_', '-') }
                : o with { KappaRule = "constant", Kappa = v.Number() },
        },
    };

    private static CorrectionOptions Correction(JsonElement weights) => new()
    {
        Level = weights.GetProperty("level").GetString()!,
        Action = weights.GetProperty("action").GetString()!,
        Low = weights.OptionalNumber("low"),
        High = weights.OptionalNumber("high"),
        Normalise = weights.GetProperty("normalise").GetBoolean(),
        Reject = weights.Find("reject") is { } reject
            ? new RejectionOptions
            {
                Metric = reject.GetProperty("metric").GetString()!,
                Level = reject.GetProperty("level").GetString() == "sequence_mean" ? "sequence" : reject.GetProperty("level").GetString()!,
                Low = reject.OptionalNumber("low"),
                High = reject.OptionalNumber("high"),
            }
            : null,
    };
}
