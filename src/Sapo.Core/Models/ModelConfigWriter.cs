// ModelConfig -> config.json, in the layout of transformers before release 5: every release and nearly every other
// program reads that one. What the layout cannot say is refused.
using System.Text.Json;

namespace Sapo.Core.Models;

/// <summary>Writes the config.json of a Hugging Face folder.</summary>
public static class ModelConfigWriter
{
    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <summary>The content of config.json; <see cref="ModelConfigReader.Parse"/> reads the same configuration from it. Weights are said to be F32.</summary>
    /// <exception cref="ArgumentException">The model type's config.json has no member for something the configuration holds.</exception>
    public static byte[] Write(ModelConfig config)
    {
        CheckExpressible(config);
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Indented))
        {
            json.WriteStartObject();
            WriteSizes(json, config);
            WriteRotary(json, config);
            if (config.ModelType is not ("qwen2" or "mistral")) json.WriteBoolean("attention_bias", config.QueryKeyValueBias);
            if (config.ModelType == "llama") json.WriteBoolean("mlp_bias", config.MlpBias);
            WriteWindows(json, config);
            if (config.Mixture is { } mixture) WriteMixture(json, mixture);
            WriteTokens(json, config);
            json.WriteEndObject();
        }
        return buffer.ToArray();
    }

    private static void CheckExpressible(ModelConfig config)
    {
        var type = config.ModelType;
        Check(config.QueryKeyValueBias == (type == "qwen2" || config.OutputBias), "biases on q, k and v without one on o, or the reverse");
        Check(type is not ("qwen2" or "mistral") || !config.OutputBias, "a bias on the attention's output");
        Check(type == "llama" || !config.MlpBias, "biases in the MLP");
        Check(config.QueryKeyNorm == type is "qwen3" or "qwen3_moe", "this choice of q and k norms");
        Check(config.Mixture is not null == (type == "qwen3_moe"), "this choice of experts");
        var windows = config.SlidingWindows.Where(window => window is not null).Distinct().Count();
        Check(windows == 0 || (type is not ("llama" or "qwen3_moe") && windows == 1), "these sliding windows");
        Check(type != "mistral" || windows == 0 || config.SlidingWindows.All(window => window is not null), "a sliding window in some layers only");

        void Check(bool holds, string what)
        {
            if (!holds) throw new ArgumentException($"The config.json of {type} cannot express {what}.", nameof(config));
        }
    }

    private static void WriteSizes(Utf8JsonWriter json, ModelConfig config)
    {
        json.WriteStartArray("architectures");
        json.WriteStringValue(ModelConfigReader.ArchitectureOf(config.ModelType));
        json.WriteEndArray();
        json.WriteString("model_type", config.ModelType);
        json.WriteString("torch_dtype", "float32");
        json.WriteNumber("vocab_size", config.VocabSize);
        json.WriteNumber("hidden_size", config.HiddenSize);
        json.WriteNumber("intermediate_size", config.IntermediateSize);
        json.WriteNumber("num_hidden_layers", config.LayerCount);
        json.WriteNumber("num_attention_heads", config.HeadCount);
        json.WriteNumber("num_key_value_heads", config.KeyValueHeadCount);
        json.WriteNumber("head_dim", config.HeadSize);
        json.WriteNumber("max_position_embeddings", config.MaxPositions);
        json.WriteString("hidden_act", "silu");
        json.WriteNumber("rms_norm_eps", config.RmsNormEpsilon);
        json.WriteBoolean("tie_word_embeddings", config.TieWordEmbeddings);
    }

    private static void WriteRotary(Utf8JsonWriter json, ModelConfig config)
    {
        json.WriteNumber("rope_theta", config.RopeTheta);
        if (config.RopeScaling is RopeScaling.None) return;
        json.WriteStartObject("rope_scaling");
        switch (config.RopeScaling)
        {
            case RopeScaling.Linear linear:
                json.WriteString("rope_type", "linear");
                json.WriteString("type", "linear"); // the name that releases before 4.43 read
                json.WriteNumber("factor", linear.Factor);
                break;
            case RopeScaling.Llama3 llama:
                json.WriteString("rope_type", "llama3");
                json.WriteNumber("factor", llama.Factor);
                json.WriteNumber("low_freq_factor", llama.LowFrequencyFactor);
                json.WriteNumber("high_freq_factor", llama.HighFrequencyFactor);
                json.WriteNumber("original_max_position_embeddings", llama.OriginalMaxPositions);
                break;
        }
        json.WriteEndObject();
    }

    private static void WriteWindows(Utf8JsonWriter json, ModelConfig config)
    {
        if (config.ModelType == "llama") return;
        var window = config.SlidingWindows.FirstOrDefault(size => size is not null);
        WriteNullable(json, "sliding_window", window);
        if (config.ModelType == "mistral") return;
        json.WriteBoolean("use_sliding_window", window is not null);
        var first = Array.FindIndex(config.SlidingWindows, size => size is not null);
        json.WriteNumber("max_window_layers", first < 0 ? config.LayerCount : first);
        if (first < 0 || config.SlidingWindows.Skip(first).All(size => size is not null)) return;
        json.WriteStartArray("layer_types");
        foreach (var size in config.SlidingWindows) json.WriteStringValue(size is null ? "full_attention" : "sliding_attention");
        json.WriteEndArray();
    }

    private static void WriteMixture(Utf8JsonWriter json, MixtureConfig mixture)
    {
        json.WriteNumber("num_experts", mixture.Experts);
        json.WriteNumber("num_experts_per_tok", mixture.ExpertsPerToken);
        json.WriteNumber("moe_intermediate_size", mixture.IntermediateSize);
        json.WriteBoolean("norm_topk_prob", mixture.NormalizeTopK);
        json.WriteNumber("decoder_sparse_step", 1);
        json.WriteStartArray("mlp_only_layers");
        for (var layer = 0; layer < mixture.SparseLayers.Length; layer++)
            if (!mixture.SparseLayers[layer]) json.WriteNumberValue(layer);
        json.WriteEndArray();
        json.WriteNumber("router_aux_loss_coef", mixture.RouterAuxLossCoefficient);
    }

    private static void WriteTokens(Utf8JsonWriter json, ModelConfig config)
    {
        WriteNullable(json, "bos_token_id", config.BeginTokenId);
        WriteNullable(json, "pad_token_id", config.PadTokenId);
        if (config.EndTokenIds.Count <= 1)
        {
            WriteNullable(json, "eos_token_id", config.EndTokenIds.Count == 1 ? config.EndTokenIds[0] : null);
            return;
        }
        json.WriteStartArray("eos_token_id");
        foreach (var id in config.EndTokenIds) json.WriteNumberValue(id);
        json.WriteEndArray();
    }

    private static void WriteNullable(Utf8JsonWriter json, string name, int? value)
    {
        if (value is { } number) json.WriteNumber(name, number);
        else json.WriteNull(name);
    }
}
