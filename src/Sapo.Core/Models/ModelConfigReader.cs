// config.json -> ModelConfig. Two layouts are read: that of transformers 5 (rope_parameters, dtype, layer_types,
// num_local_experts) and the older one of nearly all published checkpoints (rope_theta, rope_scaling, num_experts).
// What the learner and the graph would not compute exactly is refused by name, never ignored.
using System.Text.Json;

namespace Sapo.Core.Models;

/// <summary>Reads config.json and generation_config.json of a Hugging Face folder.</summary>
public static class ModelConfigReader
{
    private const int MostLayers = 10_000, MostExperts = 10_000; // far above any model; keeps a hostile number from filling the memory

    private const string FullAttention = "full_attention", SlidingAttention = "sliding_attention";

    private static readonly Dictionary<string, string> Architectures = new(StringComparer.Ordinal)
    {
        ["qwen2"] = "Qwen2ForCausalLM",
        ["qwen3"] = "Qwen3ForCausalLM",
        ["qwen3_moe"] = "Qwen3MoeForCausalLM",
        ["llama"] = "LlamaForCausalLM",
        ["mistral"] = "MistralForCausalLM",
    };

    /// <summary>The class name that config.json's <c>architectures</c> holds for a model type.</summary>
    /// <exception cref="ArgumentException">The model type is not supported.</exception>
    public static string ArchitectureOf(string modelType) => Architectures.TryGetValue(modelType, out var architecture)
        ? architecture
        : throw new ArgumentException($"{modelType} is none of {string.Join(", ", Architectures.Keys)}.", nameof(modelType));

    /// <summary>Reads a folder's configuration.</summary>
    /// <exception cref="UserErrorException">A file is missing or broken, or the model is of a kind that is not supported.</exception>
    public static ModelConfig Read(string folder)
    {
        var path = Path.Combine(folder, "config.json");
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "the config.json of a Hugging Face model folder", "Check the model's path");
        return Parse(File.ReadAllBytes(path), path, EndTokens(Path.Combine(folder, "generation_config.json")));
    }

    /// <summary>Reads one configuration from its bytes.</summary>
    /// <param name="json">The content of config.json.</param>
    /// <param name="path">Named in errors.</param>
    /// <param name="generationEndTokens">The end-of-sequence ids of generation_config.json; they join those of config.json.</param>
    public static ModelConfig Parse(ReadOnlyMemory<byte> json, string path, IReadOnlyList<int>? generationEndTokens = null)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            return Read(new Fields(document.RootElement, path), generationEndTokens ?? []);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "the JSON object that a Hugging Face model is saved with", "Copy or download it again", broken);
        }
    }

    private static ModelConfig Read(Fields fields, IReadOnlyList<int> generationEndTokens)
    {
        var type = CheckSupported(fields);
        var heads = fields.Positive("num_attention_heads");
        var hidden = fields.Positive("hidden_size");
        var layers = fields.Positive("num_hidden_layers", MostLayers);
        var attentionBias = type is not ("qwen2" or "mistral") && fields.Bool("attention_bias"); // those two have no such member
        var config = new ModelConfig
        {
            ModelType = type,
            VocabSize = fields.Positive("vocab_size"),
            HiddenSize = hidden,
            LayerCount = layers,
            HeadCount = heads,
            KeyValueHeadCount = fields.Int("num_key_value_heads") ?? heads,
            HeadSize = fields.Int("head_dim") ?? (type == "qwen3" ? 128 : hidden / heads),
            IntermediateSize = fields.Positive("intermediate_size"),
            MaxPositions = fields.Int("max_position_embeddings") ?? 2048,
            RmsNormEpsilon = fields.Double("rms_norm_eps") ?? 1e-6,
            RopeTheta = Theta(fields),
            RopeScaling = Scaling(fields),
            TieWordEmbeddings = fields.Bool("tie_word_embeddings"),
            QueryKeyValueBias = type == "qwen2" || attentionBias,
            OutputBias = attentionBias,
            MlpBias = type == "llama" && fields.Bool("mlp_bias"),
            QueryKeyNorm = type is "qwen3" or "qwen3_moe",
            SlidingWindows = Windows(fields, type, layers),
            Mixture = type == "qwen3_moe" ? ReadMixture(fields, layers) : null,
            BeginTokenId = fields.Int("bos_token_id"),
            EndTokenIds = [.. fields.Ints("eos_token_id").Union(generationEndTokens)],
            PadTokenId = fields.Int("pad_token_id"),
        };
        CheckConsistent(config, fields);
        return config;
    }

    private static string CheckSupported(Fields fields)
    {
        var type = fields.String("model_type");
        var architecture = fields.Strings("architectures").FirstOrDefault();
        if (type is null || !Architectures.TryGetValue(type, out var expected) || (architecture is not null && !string.Equals(architecture, expected, StringComparison.Ordinal)))
            throw fields.Error($"model_type {type ?? "(none)"} with architecture {architecture ?? "(none)"} is not supported", "one of " + string.Join(", ", Architectures.Select(pair => $"{pair.Key} ({pair.Value})")), "Use a model of one of these families");
        if (fields.Object("quantization_config") is { } quantization)
            throw fields.Error($"quantization_config says the weights are quantized ({quantization.String("quant_method") ?? "unknown method"})", "weights stored as F32, F16 or BF16", "Use the checkpoint that was not quantized");
        if (fields.String("hidden_act") is { } activation && activation != "silu")
            throw fields.Error($"hidden_act is {activation}", "silu", "This activation is not supported");
        if (fields.Double("attention_dropout") is { } dropout && dropout != 0)
            throw fields.Error($"attention_dropout is {dropout}", "0", "Dropout is not supported: set it to 0 to train without it");
        if ((fields.Double("partial_rotary_factor") ?? fields.Object("rope_parameters")?.Double("partial_rotary_factor") ?? 1) != 1)
            throw fields.Error("partial_rotary_factor is not 1", "rotary embedding over the whole head", "This is not supported");
        return type;
    }

    private static double Theta(Fields fields)
    {
        var (newer, older) = (fields.Object("rope_parameters")?.Double("rope_theta"), fields.Double("rope_theta"));
        if (newer is not null && older is not null && newer != older)
            throw fields.Error($"rope_theta is {older}, and {newer} in rope_parameters", "one of the two", "Use the config.json saved with these weights");
        return newer ?? older ?? 10000;
    }

    private static RopeScaling Scaling(Fields fields)
    {
        var (newer, older) = (fields.Object("rope_parameters"), fields.Object("rope_scaling"));
        var scaling = ScalingOf(newer ?? older, fields);
        if (newer is not null && older is not null && scaling != ScalingOf(older, fields))
            throw fields.Error("rope_scaling differs from rope_parameters", "one of the two", "Use the config.json saved with these weights");
        return scaling;
    }

    private static RopeScaling ScalingOf(Fields? given, Fields fields)
    {
        if (given is not { } scaling) return new RopeScaling.None();
        var kind = scaling.String("rope_type") ?? scaling.String("type") ?? "default";
        return kind switch
        {
            "default" => new RopeScaling.None(),
            "linear" => new RopeScaling.Linear(scaling.PositiveDouble("factor")),
            "llama3" => new RopeScaling.Llama3(
                scaling.PositiveDouble("factor"), scaling.PositiveDouble("low_freq_factor"), scaling.PositiveDouble("high_freq_factor"), scaling.Positive("original_max_position_embeddings")),
            _ => throw fields.Error($"rotary scaling of type {kind} is not supported", "default, linear or llama3", "Use a model without it"),
        };
    }

    private static int?[] Windows(Fields fields, string type, int layers)
    {
        var kinds = LayerKinds(fields, layers); // where windows are off, too: other kinds of attention are never passed over
        var window = type == "mistral" && !fields.Has("sliding_window") ? 4096 : fields.Int("sliding_window"); // MistralConfig's default
        var used = window is not null && (type == "mistral" || (type != "llama" && fields.Bool("use_sliding_window")));
        if (!used) return new int?[layers];
        if (type == "qwen3_moe") throw fields.Error("use_sliding_window is true", "false for qwen3_moe", "Sliding windows are not supported in this family");
        if (window <= 0) throw fields.Error($"sliding_window is {window}", "a positive number or null", "Correct config.json");
        if (kinds.Length > 0) return [.. kinds.Select(kind => kind == SlidingAttention ? window : null)];
        var first = type == "mistral" ? 0 : fields.Int("max_window_layers") ?? 28;
        return [.. Enumerable.Range(0, layers).Select(layer => layer >= first ? window : null)];
    }

    private static string[] LayerKinds(Fields fields, int layers)
    {
        var kinds = fields.Strings("layer_types");
        if (kinds.Length > 0 && kinds.Length != layers) throw fields.Error($"layer_types has {kinds.Length} entries", $"{layers}, one per layer", "Correct config.json");
        if (kinds.FirstOrDefault(kind => kind is not (FullAttention or SlidingAttention)) is { } other)
            throw fields.Error($"layer_types holds {other}", $"{FullAttention} or {SlidingAttention}", "This attention is not supported");
        return kinds;
    }

    private static MixtureConfig ReadMixture(Fields fields, int layers)
    {
        var experts = fields.Positive(fields.Has("num_experts") ? "num_experts" : "num_local_experts", MostExperts);
        var chosen = fields.Positive("num_experts_per_tok");
        if (chosen > experts) throw fields.Error($"num_experts_per_tok is {chosen}", $"at most the {experts} experts", "Correct config.json");
        var dense = fields.Ints("mlp_only_layers").ToHashSet();
        var step = fields.Int("decoder_sparse_step") ?? 1;
        if (step < 1) throw fields.Error($"decoder_sparse_step is {step}", "at least 1", "Correct config.json");
        return new MixtureConfig(
            experts, chosen, fields.Positive("moe_intermediate_size"), fields.Bool("norm_topk_prob"),
            [.. Enumerable.Range(0, layers).Select(layer => !dense.Contains(layer) && (layer + 1) % step == 0)],
            fields.Double("router_aux_loss_coef") ?? 0.001);
    }

    private static void CheckConsistent(ModelConfig config, Fields fields)
    {
        if (config.KeyValueHeadCount < 1 || config.HeadCount % config.KeyValueHeadCount != 0)
            throw fields.Error($"num_attention_heads {config.HeadCount} is no multiple of num_key_value_heads {config.KeyValueHeadCount}", null, "Use the config.json saved with these weights");
        if (config.HeadSize < 2 || config.HeadSize % 2 != 0)
            throw fields.Error($"head_dim is {config.HeadSize}", "a positive even number (rotary embedding turns pairs)", "Use the config.json saved with these weights");
        if (!(config.RopeTheta > 0)) throw fields.Error($"rope_theta is {config.RopeTheta}", "a positive number", "Correct config.json");
        if (!(config.RmsNormEpsilon >= 0)) throw fields.Error($"rms_norm_eps is {config.RmsNormEpsilon}", "0 or more", "Correct config.json");
        if (config.RopeScaling is RopeScaling.Llama3 llama && llama.HighFrequencyFactor <= llama.LowFrequencyFactor)
            throw fields.Error($"high_freq_factor is {llama.HighFrequencyFactor}", $"more than low_freq_factor, {llama.LowFrequencyFactor}", "Correct config.json");
        if (config.MaxPositions < 1) throw fields.Error($"max_position_embeddings is {config.MaxPositions}", "at least 1", "Correct config.json");
    }

    private static int[] EndTokens(string path)
    {
        if (!File.Exists(path)) return [];
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            return [.. new Fields(document.RootElement, path).Ints("eos_token_id")];
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "a JSON object", "Copy or download it again", broken);
        }
    }

    /// <summary>The members of one JSON object, typed; null and absent are the same.</summary>
    private sealed record Fields(JsonElement Element, string Path)
    {
        private const string Remedy = "Use the config.json saved with these weights";

        public UserErrorException Error(string found, string? expected, string remedy) => new($"{Path}: {found}", expected, remedy);

        public Fields? Object(string name) => Find(name) is not { } value
            ? null
            : value.ValueKind == JsonValueKind.Object ? this with { Element = value } : throw Error($"{name} is {value.GetRawText()}", "an object or null", Remedy);

        public bool Has(string name) => Element.TryGetProperty(name, out _);

        public string? String(string name) => Read(name, "a text", value => value.GetString());

        public bool Bool(string name) => Read(name, "true or false", value => (bool?)value.GetBoolean()) ?? false;

        public int? Int(string name) => Read(name, "a whole number", value => (int?)value.GetInt32());

        public double? Double(string name) => Read(name, "a finite number", value => (double?)value.GetDouble()) is not { } number
            ? null
            : double.IsFinite(number) ? number : throw Error($"{name} is {number}", "a finite number", Remedy);

        public int Positive(string name, int atMost = int.MaxValue) => Int(name) is not { } value
            ? throw Error($"{name} is missing", "a positive number", Remedy)
            : value > 0 && value <= atMost ? value : throw Error($"{name} is {value}", atMost == int.MaxValue ? "a positive number" : $"1 to {atMost}", Remedy);

        public double PositiveDouble(string name) => Double(name) is > 0 and var value
            ? value
            : throw Error($"{name} is missing or not positive", "a positive number", Remedy);

        public string[] Strings(string name) => Read(name, "a list of texts", value => value.EnumerateArray().Select(item => item.GetString() ?? "").ToArray()) ?? [];

        public int[] Ints(string name) => Read(name, "a whole number or a list of them", value =>
            value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Select(item => item.GetInt32()).ToArray() : [value.GetInt32()]) ?? [];

        private T? Read<T>(string name, string expected, Func<JsonElement, T?> read)
        {
            if (Find(name) is not { } value) return default;
            try
            {
                return read(value);
            }
            catch (Exception mismatch) when (mismatch is InvalidOperationException or FormatException)
            {
                throw Error($"{name} is {value.GetRawText()}", expected, Remedy);
            }
        }

        private JsonElement? Find(string name) =>
            Element.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }
}
