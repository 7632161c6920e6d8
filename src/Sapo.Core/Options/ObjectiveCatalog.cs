namespace Sapo.Core.Options;

/// <summary>Every objective that a run file can name, with paper, defaults and how sure its text is. The formulas are in Sapo.Learner/Objectives.</summary>
public static class ObjectiveCatalog
{
    /// <summary>Mean over completions of the mean over their tokens.</summary>
    public const string SequenceMean = "seq-mean-token-mean";

    /// <summary>Mean over all tokens.</summary>
    public const string TokenMean = "token-mean";

    /// <summary>Mean over completions of the sum over their tokens.</summary>
    public const string SequenceSum = "seq-mean-token-sum";

    /// <summary>Mean over completions of the sum over their tokens, divided by a constant.</summary>
    public const string ConstantNorm = "seq-mean-token-sum-norm";

    /// <summary>The names of all aggregations.</summary>
    public static IReadOnlyList<string> Aggregations { get; } = [SequenceMean, TokenMean, SequenceSum, ConstantNorm];

    /// <summary>All entries, SAPO first.</summary>
    public static IReadOnlyList<ObjectiveEntry> All { get; } = [.. Sequenced(), .. Clipped(), .. Detached(), .. Constrained()];

    /// <summary>The entry of that name.</summary>
    /// <exception cref="UserErrorException">Unknown name; the message names the nearest known one and all others.</exception>
    public static ObjectiveEntry Find(string name)
    {
        IReadOnlyList<string> names = [.. All.Select(entry => entry.Name)];
        OptionCheck.OneOf("objective.name", name, names);
        return All.First(entry => entry.Name == name);
    }

    private static ObjectiveOptions Options(string name, string aggregation) => new()
    {
        Name = name,
        Aggregation = aggregation,
        LogRatioClamp = 20,
    };

    /// <summary>SAPO and the objectives with one weight per completion.</summary>
    private static IEnumerable<ObjectiveEntry> Sequenced() =>
    [
        new("sapo", "Soft Adaptive Policy Optimization", "2511.20347", ObjectiveStatus.Complete,
            "Gates other than sigmoid are those of the gate study 2602.19345, scaled by us",
            Options("sapo", SequenceMean) with { Gate = "sigmoid", TauPositive = 1, TauNegative = 1.05 }),
        new("gspo", "Group Sequence Policy Optimization", "2507.18071", ObjectiveStatus.Complete, "",
            Options("gspo", SequenceMean) with { ClipLow = 3e-4, ClipHigh = 4e-4 }),
        new("gspo-token", "GSPO with token advantages", "2507.18071", ObjectiveStatus.Complete, "",
            Options("gspo-token", SequenceMean) with { ClipLow = 3e-4, ClipHigh = 4e-4 }),
        new("gmpo", "Geometric-Mean Policy Optimization", "2507.20673", ObjectiveStatus.Complete, "Clip distances are in log space",
            Options("gmpo", SequenceMean) with { ClipLow = 0.4, ClipHigh = 0.4 }),
        new("sspo-sigmoid", "Soft Sequence Policy Optimization, sigmoid gate", "2602.19327", ObjectiveStatus.Reconstruction,
            "Rebuilt from the abstract: geometric mean of SAPO's gate",
            Options("sspo-sigmoid", SequenceMean) with { TauPositive = 1, TauNegative = 1.05 }),
        new("sspo-arctan", "Soft Sequence Policy Optimization, arctan gate", "2602.19327", ObjectiveStatus.Reconstruction,
            "Rebuilt from the abstract: geometric mean of exp(arctan(k z)/k)",
            Options("sspo-arctan", SequenceMean) with { Steepness = 1 }),
        new("vespo", "Variational Sequence-level Soft Policy Optimization", "2602.10693", ObjectiveStatus.Complete,
            "Takes mismatch weights into the sequence weight instead of multiplying by them",
            Options("vespo", TokenMean) with { KPositive = 2, LambdaPositive = 3, KNegative = 3, LambdaNegative = 2 }),
        new("espo", "Entropy Importance Sampling Policy Optimization", "2512.00499", ObjectiveStatus.Complete,
            "Two readings of Eq. 9; groups are per completion; always the sequence mean of group means",
            Options("espo", SequenceMean) with { Alpha = 0.02, HighEntropyFraction = 0.2, Reading = "gspo-like" }),
    ];

    /// <summary>GRPO and the objectives that clip the token ratio.</summary>
    private static IEnumerable<ObjectiveEntry> Clipped() =>
    [
        new("grpo", "Group Relative Policy Optimization", "2402.03300", ObjectiveStatus.Complete, "Dual clip and delta are later additions, off by default",
            Options("grpo", SequenceMean) with { ClipLow = 0.2, ClipHigh = 0.2 }, nameof(ObjectiveOptions.DualClip), nameof(ObjectiveOptions.Delta)),
        new("dapo", "Decoupled Clip and Dynamic Sampling Policy Optimization", "2503.14476", ObjectiveStatus.Complete,
            "The loss; dynamic sampling is section selection of the run file, the overlong penalty rollout.overlong",
            Options("dapo", TokenMean) with { ClipLow = 0.2, ClipHigh = 0.28 }, nameof(ObjectiveOptions.DualClip), nameof(ObjectiveOptions.Delta)),
        new("dr-grpo", "GRPO Done Right", "2503.20783", ObjectiveStatus.Complete, "Goes with the dr-grpo advantage; set normConstant to the longest completion",
            Options("dr-grpo", ConstantNorm) with { ClipLow = 0.2, ClipHigh = 0.2 }, nameof(ObjectiveOptions.DualClip), nameof(ObjectiveOptions.Delta)),
        new("minpro-hard", "MinPRO, clipped variant", "2601.22718", ObjectiveStatus.Partial, "The variant of third-party tests; clip constants are theirs",
            Options("minpro-hard", TokenMean) with { ClipLow = 0.2, ClipHigh = 0.28 }),
        new("acpo", "Adaptive Curriculum Policy Optimization (clip)", "2510.00690", ObjectiveStatus.Reconstruction, "Equations 5-6 as read by third-party code; constants are ours. The solve-count gate is section selection, batch reuse learner.batchReuse",
            Options("acpo", TokenMean) with { ClipLow = 0.2, ClipHighBase = 0.2, ClipHighGain = 0.1, ClipHighMinimum = 0, ClipHighMaximum = 1 }),
        new("bapo", "Balanced Policy Optimization with Adaptive Clipping", "2510.18927", ObjectiveStatus.Complete,
            "Paper and published code disagree; the defaults are the paper's. Bounds are searched over each whole mini-batch",
            Options("bapo", TokenMean) with
            {
                Order = "high-first", Statistic = "pos/total", Contribution = "value", SamplerWeighted = true, Target = 0.4,
                LowStart = 0.6, LowStep = 0.02, LowMaximum = 0.9, HighStart = 1.2, HighStep = 0.05, HighMaximum = 3,
            }, nameof(ObjectiveOptions.DualClip)),
        new("guard-text", "GRPO-Guard's ratio normalisation for text", "2510.22319", ObjectiveStatus.Adaptation,
            "The paper is about flow matching; this translation is ours. Needs whole distributions and whole mini-batches",
            Options("guard-text", SequenceMean) with { KappaRule = "rms-eps", Epsilon = 1e-3, ClipLow = 0.2, ClipHigh = 0.2 }, nameof(ObjectiveOptions.Kappa)),
        new("capo", "Curvature-Aware Policy Optimization", "2510.00819", ObjectiveStatus.Complete,
            "GRPO on the tokens that a last-layer model of the step finds harmless",
            Options("capo", SequenceMean) with
            {
                ClipLow = 0.2, ClipHigh = 0.2, PolicyShiftLimit = 1e-4, ObjectiveShiftLimit = 0.01, Symmetric = true, CurvatureOptimizer = "adam", TopK = 50,
            }),
    ];

    /// <summary>Objectives of the form sg[W] A log pi.</summary>
    private static IEnumerable<ObjectiveEntry> Detached() =>
    [
        new("cispo", "Clipped Importance-Sampling-weight Policy Optimization", "2506.13585", ObjectiveStatus.Complete, "No lower bound unless clipLow is set, as in the paper",
            Options("cispo", TokenMean) with { ClipHigh = 0.28 }, nameof(ObjectiveOptions.ClipLow)),
        new("cispo-absolute", "CISPO with absolute bounds", "2506.13585", ObjectiveStatus.Complete, "The convention of TRL and ScaleRL (2510.13786): the cap is the ratio itself",
            Options("cispo-absolute", TokenMean) with { RatioMax = 5 }, nameof(ObjectiveOptions.RatioMin)),
        new("minpro-soft", "Minimum Prefix Ratio Policy Optimization", "2601.22718", ObjectiveStatus.Partial, "The formula is the paper's; its clip constants were not found",
            Options("minpro-soft", TokenMean) with { ClipLow = 1, ClipHigh = 0.28 }),
        new("aspo", "Asymmetric Importance Sampling Policy Optimization", "2510.06062", ObjectiveStatus.Complete, "The entropy-dependent clip pair is the published code's, off by default",
            Options("aspo", TokenMean) with { ClipLow = 0.2, ClipHigh = 0.2, DualClip = 3 },
            nameof(ObjectiveOptions.EntropyClipQuantile), nameof(ObjectiveOptions.EntropyClipLow), nameof(ObjectiveOptions.EntropyClipHigh)),
        new("dppo", "Divergence Proximal Policy Optimization", "2602.04879", ObjectiveStatus.Complete, "The ratio is against the sampler; set normConstant to the longest completion",
            Options("dppo", ConstantNorm) with { Divergence = "binary-tv", DeltaLow = 0.15, DeltaHigh = 0.15, RatioCap = 10 },
            nameof(ObjectiveOptions.TopK), nameof(ObjectiveOptions.IncludeSampledToken))
        {
            Dependent = options => options.Divergence is "topk-tv" or "topk-kl"
                ? options with { TopK = options.TopK ?? 20, IncludeSampledToken = options.IncludeSampledToken ?? false }
                : options,
        },
    ];

    /// <summary>Objectives with a constraint instead of a clip.</summary>
    private static IEnumerable<ObjectiveEntry> Constrained() =>
    [
        new("r2vpo", "Ratio-Variance Regularized Policy Optimization", "2601.03320", ObjectiveStatus.Partial,
            "The Lagrangian form implied by the abstract; constants are ours. The dual variable is part of a checkpoint",
            Options("r2vpo", TokenMean) with { Lambda = 0.04, Delta = 0.01, DualStep = 0.1 }),
    ];
}
