// genai_config.json: what ONNX Runtime GenAI needs to run model.onnx. Unknown members are errors there, so only those
// that every release since 0.15 knows are written.
using System.Text.Json;
using Sapo.Core.Models;

namespace Sapo.Sync;

/// <summary>Writes genai_config.json.</summary>
internal static class GenAiConfig
{
    /// <summary>The file's name.</summary>
    public const string FileName = "genai_config.json";

    /// <summary>The graph it names.</summary>
    public const string GraphFile = "model.onnx";

    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <summary>The content of genai_config.json.</summary>
    /// <param name="config">The model.</param>
    /// <param name="contextLength">Longest sequence the graph runs.</param>
    public static byte[] Write(ModelConfig config, int contextLength)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Indented))
        {
            json.WriteStartObject();
            WriteModel(json, config, contextLength);
            WriteSearch(json, contextLength);
            json.WriteEndObject();
        }
        return buffer.ToArray();
    }

    private static void WriteModel(Utf8JsonWriter json, ModelConfig config, int contextLength)
    {
        int[] endTokens = [.. config.EndTokenIds.Where(id => id >= 0 && id < config.VocabSize)]; // others are refused by GenAI, and are never sampled
        json.WriteStartObject("model");
        json.WriteString("type", config.ModelType == "qwen3_moe" ? "qwen3" : config.ModelType); // GenAI's list has no mixture; for a decoder the name changes nothing
        json.WriteNumber("context_length", contextLength);
        json.WriteNumber("vocab_size", config.VocabSize);
        if (config.BeginTokenId is { } begin && begin >= 0 && begin < config.VocabSize) json.WriteNumber("bos_token_id", begin);
        if (endTokens.Length > 0)
        {
            json.WriteStartArray("eos_token_id");
            foreach (var id in endTokens) json.WriteNumberValue(id);
            json.WriteEndArray();
        }
        var pad = config.PadTokenId is { } own && own >= 0 && own < config.VocabSize ? own : endTokens.FirstOrDefault();
        json.WriteNumber("pad_token_id", pad);
        WriteDecoder(json, config);
        json.WriteEndObject();
    }

    private static void WriteDecoder(Utf8JsonWriter json, ModelConfig config)
    {
        json.WriteStartObject("decoder");
        json.WriteStartObject("session_options");
        json.WriteString("log_id", "onnxruntime-genai");
        json.WriteStartArray("provider_options");
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteString("filename", GraphFile);
        json.WriteNumber("head_size", config.CacheHeadSize); // GenAI allocates the caches from it
        json.WriteNumber("hidden_size", config.HiddenSize);
        json.WriteNumber("num_attention_heads", config.HeadCount);
        json.WriteNumber("num_hidden_layers", config.LayerCount);
        json.WriteNumber("num_key_value_heads", config.KeyValueHeadCount);
        WriteNames(json, "inputs", ("input_ids", "input_ids"), ("attention_mask", "attention_mask"), ("past_key_names", "past_key_values.%d.key"), ("past_value_names", "past_key_values.%d.value"));
        WriteNames(json, "outputs", ("logits", "logits"), ("present_key_names", "present.%d.key"), ("present_value_names", "present.%d.value"));
        json.WriteEndObject();
    }

    private static void WriteNames(Utf8JsonWriter json, string section, params ReadOnlySpan<(string Key, string Name)> names)
    {
        json.WriteStartObject(section);
        foreach (var (key, name) in names) json.WriteString(key, name);
        json.WriteEndObject();
    }

    private static void WriteSearch(Utf8JsonWriter json, int contextLength)
    {
        json.WriteStartObject("search");
        json.WriteBoolean("do_sample", false);
        json.WriteNumber("max_length", contextLength);
        json.WriteBoolean("past_present_share_buffer", true);
        json.WriteEndObject();
    }
}
