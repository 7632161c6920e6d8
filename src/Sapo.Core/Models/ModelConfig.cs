namespace Sapo.Core.Models;

/// <summary>How rotary frequencies are stretched for long contexts.</summary>
public abstract record RopeScaling
{
    private RopeScaling()
    {
    }

    /// <summary>Unchanged frequencies.</summary>
    public sealed record None : RopeScaling;

    /// <summary>Every angle divided by a factor.</summary>
    /// <param name="Factor">At least 1.</param>
    public sealed record Linear(double Factor) : RopeScaling;

    /// <summary>Llama 3: low frequencies divided by the factor, high ones kept, those between blended.</summary>
    /// <param name="Factor">Divides the low frequencies.</param>
    /// <param name="LowFrequencyFactor">Wavelengths longer than original / this are divided.</param>
    /// <param name="HighFrequencyFactor">Wavelengths shorter than original / this are kept.</param>
    /// <param name="OriginalMaxPositions">The context the model was first trained with.</param>
    public sealed record Llama3(double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalMaxPositions) : RopeScaling;
}

/// <summary>The mixture-of-experts part of a qwen3_moe model.</summary>
/// <param name="Experts">Number of experts per sparse layer.</param>
/// <param name="ExpertsPerToken">How many of them see a token.</param>
/// <param name="IntermediateSize">Width of an expert's MLP.</param>
/// <param name="NormalizeTopK">Whether the chosen experts' probabilities are divided by their sum (norm_topk_prob).</param>
/// <param name="SparseLayers">Per layer: true where the MLP is a mixture.</param>
/// <param name="RouterAuxLossCoefficient">Weight of the load-balance loss in supervised training (router_aux_loss_coef).</param>
public sealed record MixtureConfig(int Experts, int ExpertsPerToken, int IntermediateSize, bool NormalizeTopK, bool[] SparseLayers, double RouterAuxLossCoefficient);

/// <summary>
/// A decoder of the Llama family, as config.json describes it: qwen2, qwen3, qwen3_moe, llama, mistral. Read by
/// <see cref="ModelConfigReader"/>; everything that graph and learner need is a plain value here.
/// </summary>
public sealed record ModelConfig
{
    /// <summary>qwen2, qwen3, qwen3_moe, llama or mistral.</summary>
    public required string ModelType { get; init; }

    /// <summary>Rows of the embedding.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int HeadCount { get; init; }

    /// <summary>Number of key and value heads; divides <see cref="HeadCount"/>.</summary>
    public required int KeyValueHeadCount { get; init; }

    /// <summary>Width of a head, even.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Width of a head in an engine's key and value caches: <see cref="HeadSize"/> rounded up to a multiple of 16, which ONNX Runtime's GroupQueryAttention wants.</summary>
    public int CacheHeadSize => (HeadSize + 15) / 16 * 16;

    /// <summary>Width of a dense MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Longest sequence, in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Epsilon inside the root of every RMS norm. Default 1e-6.</summary>
    public double RmsNormEpsilon { get; init; } = 1e-6;

    /// <summary>Base of the rotary frequencies. Default 10000.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Scaling of the rotary frequencies.</summary>
    public RopeScaling RopeScaling { get; init; } = new RopeScaling.None();

    /// <summary>The LM head is the embedding.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Biases on the query, key and value projections.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Bias on the attention's output projection.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Biases in the dense MLP.</summary>
    public bool MlpBias { get; init; }

    /// <summary>RMS norms over each query and key head before the rotation (qwen3).</summary>
    public bool QueryKeyNorm { get; init; }

    /// <summary>Per layer the sliding window in tokens (the token itself included), or null for full attention.</summary>
    public required int?[] SlidingWindows { get; init; }

    /// <summary>The mixture of experts, or null for a dense model.</summary>
    public MixtureConfig? Mixture { get; init; }

    /// <summary>Id that begins a sequence, or null.</summary>
    public int? BeginTokenId { get; init; }

    /// <summary>Ids that end a sequence (config.json and generation_config.json together).</summary>
    public IReadOnlyList<int> EndTokenIds { get; init; } = [];

    /// <summary>Id that fills padded positions, or null. Never used to decide what counts: masks do.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>Every parameter with its shape, in the order checkpoints are written. A tied model has no lm_head.weight.</summary>
    public IEnumerable<(string Name, long[] Shape)> Parameters()
    {
        yield return ("model.embed_tokens.weight", [VocabSize, HiddenSize]);
        for (var layer = 0; layer < LayerCount; layer++)
            foreach (var parameter in LayerParameters(layer)) yield return parameter;
        yield return ("model.norm.weight", [HiddenSize]);
        if (!TieWordEmbeddings) yield return ("lm_head.weight", [VocabSize, HiddenSize]);
    }

    /// <summary>Number of parameters.</summary>
    public long ParameterCount => Parameters().Sum(parameter => parameter.Shape.Aggregate(1L, (product, size) => product * size));

    /// <summary>The rotary frequencies after scaling: HeadSize / 2 values, angle per position in radians.</summary>
    public double[] RotaryFrequencies()
    {
        var frequencies = new double[HeadSize / 2];
        for (var i = 0; i < frequencies.Length; i++) frequencies[i] = Scaled(Math.Pow(RopeTheta, -2.0 * i / HeadSize));
        return frequencies;
    }

    private double Scaled(double frequency)
    {
        if (RopeScaling is RopeScaling.Linear linear) return frequency / linear.Factor;
        if (RopeScaling is not RopeScaling.Llama3 llama) return frequency;
        var wavelength = 2 * Math.PI / frequency;
        if (wavelength < llama.OriginalMaxPositions / llama.HighFrequencyFactor) return frequency;
        if (wavelength > llama.OriginalMaxPositions / llama.LowFrequencyFactor) return frequency / llama.Factor;
        var keep = (llama.OriginalMaxPositions / wavelength - llama.LowFrequencyFactor) / (llama.HighFrequencyFactor - llama.LowFrequencyFactor);
        return (1 - keep) * frequency / llama.Factor + keep * frequency;
    }

    private IEnumerable<(string Name, long[] Shape)> LayerParameters(int layer)
    {
        var prefix = $"model.layers.{layer}.";
        long hidden = HiddenSize, queries = (long)HeadCount * HeadSize, keys = (long)KeyValueHeadCount * HeadSize;
        yield return (prefix + "input_layernorm.weight", [HiddenSize]);
        foreach (var (name, rows, columns, bias) in new[]
        {
            ("q_proj", queries, hidden, QueryKeyValueBias), ("k_proj", keys, hidden, QueryKeyValueBias),
            ("v_proj", keys, hidden, QueryKeyValueBias), ("o_proj", hidden, queries, OutputBias),
        })
        {
            yield return ($"{prefix}self_attn.{name}.weight", [rows, columns]);
            if (bias) yield return ($"{prefix}self_attn.{name}.bias", [rows]);
        }
        if (QueryKeyNorm)
        {
            yield return (prefix + "self_attn.q_norm.weight", [HeadSize]);
            yield return (prefix + "self_attn.k_norm.weight", [HeadSize]);
        }
        yield return (prefix + "post_attention_layernorm.weight", [HiddenSize]);
        if (Mixture is { } mixture && mixture.SparseLayers[layer])
        {
            yield return (prefix + "mlp.gate.weight", [mixture.Experts, HiddenSize]);
            for (var expert = 0; expert < mixture.Experts; expert++)
                foreach (var parameter in MlpParameters($"{prefix}mlp.experts.{expert}.", mixture.IntermediateSize, bias: false)) yield return parameter;
        }
        else
        {
            foreach (var parameter in MlpParameters(prefix + "mlp.", IntermediateSize, MlpBias)) yield return parameter;
        }
    }

    private IEnumerable<(string Name, long[] Shape)> MlpParameters(string prefix, long width, bool bias)
    {
        foreach (var (name, rows, columns) in new[] { ("gate_proj", width, (long)HiddenSize), ("up_proj", width, HiddenSize), ("down_proj", HiddenSize, width) })
        {
            yield return ($"{prefix}{name}.weight", [rows, columns]);
            if (bias) yield return ($"{prefix}{name}.bias", [rows]);
        }
    }
}
