// What a learner will hold, from the options alone and before anything is loaded. Buffers and kept activations are exact for
// sequences of the given lengths; work buffers are bounded.
//
//   lasting:  weights | gradients | moments | reference | merged copy of an adapted policy
//   a step:   kept activations of one micro-batch + the larger of (head, one layer's backward pass)
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;

namespace Sapo.Learner;

/// <summary>The completions of one optimizer step at their longest.</summary>
/// <param name="Groups">Prompts.</param>
/// <param name="GroupSize">Completions of each.</param>
/// <param name="PromptTokens">Tokens of a prompt.</param>
/// <param name="NewTokens">Tokens of a completion.</param>
public sealed record MiniBatchShape(int Groups, int GroupSize, int PromptTokens, int NewTokens)
{
    /// <summary>Tokens that pass the layers: prompts once per group, without each completion's last.</summary>
    public long Tokens => (long)Groups * (PromptTokens + (long)GroupSize * (NewTokens - 1));

    /// <summary>Completion tokens.</summary>
    public long Targets => (long)Groups * GroupSize * NewTokens;
}

/// <summary>Bytes a learner needs.</summary>
public sealed record LearnerFootprint
{
    private const int Element = sizeof(float), Index = sizeof(long);

    /// <summary>The checkpoint's parameters.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Gradients of what is trained.</summary>
    public required long GradientBytes { get; init; }

    /// <summary>The optimizer's two moments of what is trained.</summary>
    public required long MomentBytes { get; init; }

    /// <summary>A reference policy of its own, and a merged copy of an adapted policy for publishing.</summary>
    public required long CopyBytes { get; init; }

    /// <summary>What a micro-batch's layers keep for the backward pass.</summary>
    public required long ActivationBytes { get; init; }

    /// <summary>The head's input, kept distributions and a chunk.</summary>
    public required long HeadBytes { get; init; }

    /// <summary>Buffers of one layer's backward pass.</summary>
    public required long WorkBytes { get; init; }

    /// <summary>What lasts from step to step.</summary>
    public long LastingBytes => WeightBytes + GradientBytes + MomentBytes + CopyBytes;

    /// <summary>What a step adds at its peak.</summary>
    public long StepBytes => ActivationBytes + Math.Max(HeadBytes, WorkBytes);

    /// <summary>Of a model trained as options say.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">The learner's options.</param>
    /// <param name="shape">One optimizer step's completions.</param>
    /// <param name="trainedParameters">Number of parameters that are trained; null: those of <see cref="LearnerOptions.Lora"/>, or all of the model's.</param>
    /// <param name="referenceParameters">Number of parameters that a reference policy holds of its own.</param>
    public static LearnerFootprint Of(ModelConfig config, LearnerOptions options, MiniBatchShape shape, long? trainedParameters = null, long referenceParameters = 0)
    {
        var trained = trainedParameters ?? TrainedParameters(config, options);
        var micro = Math.Min(1, (double)options.MaxTokensPerMicroBatch / shape.Tokens); // the largest micro-batch's part of the mini-batch
        var (tokens, targets) = (micro * shape.Tokens, micro * shape.Targets);
        double[] scores = [.. config.SlidingWindows.Select(window => micro * Scores(shape, window) * config.HeadCount)];
        var checkpoints = options.ActivationCheckpointing;
        var first = options.Lora is { } lora ? LowRankAdapter.ModulesOf(lora, config).Min(module => module.Layer) : 0; // below it nothing is kept
        var keepsScores = (checkpoints ? scores.Max() : scores.Sum()) * Element <= DecoderModel.MaxKeptProbabilityBytes;
        double[] layers = [.. Enumerable.Range(0, config.LayerCount).Select(layer => LayerBytes(config, layer, tokens) + (keepsScores ? scores[layer] * Element : 0))];
        return new LearnerFootprint
        {
            WeightBytes = Element * config.ParameterCount,
            GradientBytes = Element * trained,
            MomentBytes = 2 * Element * trained,
            CopyBytes = Element * referenceParameters + (trained < config.ParameterCount ? Element * config.ParameterCount : 0),
            ActivationBytes = (long)(checkpoints ? Element * tokens * config.HiddenSize * (config.LayerCount - first) + layers.Max() : layers.Skip(first).Sum()),
            HeadBytes = (long)Head(config, targets),
            WorkBytes = (long)Work(config, options, tokens, scores.Max() / Math.Max(1, shape.NewTokens / SequenceBlock.DefaultTileRows)),
        };
    }

    /// <summary>Number of parameters that are trained: a new adapter's, or all of the model's.</summary>
    /// <exception cref="Sapo.Core.UserErrorException">The adapter does not fit the model.</exception>
    public static long TrainedParameters(ModelConfig config, LearnerOptions options)
    {
        if (options.Lora is not { } lora) return config.ParameterCount;
        LowRankAdapter.RefuseUnused(lora, config);
        return LowRankAdapter.ModulesOf(lora, config).Sum(module => module.Rank * (module.Inputs + module.Outputs));
    }

    /// <summary>Score elements per head that attention computes for a mini-batch.</summary>
    private static double Scores(MiniBatchShape shape, int? window)
    {
        if (shape.GroupSize == 1) return (double)shape.Groups * ScoreTile.Elements(shape.PromptTokens + shape.NewTokens - 1, 0, window);
        return shape.Groups * (ScoreTile.Elements(shape.PromptTokens, 0, window) + (double)shape.GroupSize * ScoreTile.Elements(shape.NewTokens - 1, shape.PromptTokens, window));
    }

    /// <summary>What <see cref="AttentionState"/> and <see cref="FeedForwardState"/> hold for one layer, without probabilities.</summary>
    private static double LayerBytes(ModelConfig config, int layer, double tokens)
    {
        double queries = config.HeadCount * config.HeadSize, keys = config.KeyValueHeadCount * config.HeadSize;
        var norms = 2 * (config.HiddenSize + 1.0) + (config.QueryKeyNorm ? queries + keys + config.HeadCount + config.KeyValueHeadCount : 0);
        var attention = 2 * queries + 2 * keys;
        if (config.Mixture is not { } mixture || !mixture.SparseLayers[layer]) return tokens * Element * (norms + attention + 2.0 * config.IntermediateSize);
        var perChoice = Element * (2.0 * mixture.IntermediateSize + config.HiddenSize + 2) + 3 * Index;
        return tokens * (Element * (norms + attention + mixture.Experts) + mixture.ExpertsPerToken * perChoice);
    }

    private static double Head(ModelConfig config, double targets)
    {
        var distributions = targets * config.VocabSize * Element;
        return Math.Min(distributions, LanguageHead.KeptBytes + LanguageHead.DefaultChunkBytes) + 4 * targets * config.HiddenSize * Element;
    }

    private static double Work(ModelConfig config, LearnerOptions options, double tokens, double tileScores)
    {
        double hidden = config.HiddenSize, projected = (config.HeadCount + 2.0 * config.KeyValueHeadCount) * config.HeadSize;
        var width = config.Mixture is { } mixture ? Math.Max(config.IntermediateSize, (double)mixture.IntermediateSize * mixture.ExpertsPerToken) : config.IntermediateSize;
        var rounded = options.Dtype == LearnerOptions.Bfloat16Dtype ? 6.0 * hidden * Math.Max(2 * width, projected) : 0; // a matrix in bfloat16 and its gradient in both
        var again = options.ActivationCheckpointing ? 2 * hidden : 0; // what the repeated forward pass puts out
        return tokens * Element * (4 * hidden + again + 1.5 * config.HeadSize + Math.Max(2 * width, 6 * projected)) + 3 * tileScores * Element + rounded;
    }
}
