// adapter_config.json as PEFT writes it -> LoraOptions, and back. PEFT writes the fields of many methods, most of them null or
// false; one that would change the result and is set is refused by name, so that nothing is read as plain LoRA that is not.
using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Options;

namespace Sapo.Learner.Adapters;

/// <summary>What adapter_config.json says.</summary>
/// <param name="Options">Ranks, scalings, targets.</param>
/// <param name="Dropout">Dropout before A in PEFT's training; without effect in evaluation.</param>
internal sealed record AdapterConfig(LoraOptions Options, double Dropout)
{
    /// <summary>The file's name.</summary>
    public const string FileName = "adapter_config.json";

    private const string CausalTask = "CAUSAL_LM";

    private static readonly string[] Unsupported =
    [
        "use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "target_parameters",
        "kasa_config", "arrow_config", "velora_config", "monteclora_config", "fan_in_fan_out", "exclude_modules", "layers_pattern",
    ];

    /// <summary>Ways of drawing A and B that leave the base weights as they are.</summary>
    private static readonly string[] PlainInitializations = ["gaussian", "eva", "orthogonal"];

    /// <summary>Reads a folder's file.</summary>
    /// <exception cref="UserErrorException">It is missing, cannot be read, or asks for what is not supported.</exception>
    public static AdapterConfig Read(string folder)
    {
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a folder with an adapter as PEFT saves it", "Check the path");
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path), new JsonDocumentOptions { AllowDuplicateProperties = false });
            return Read(document.RootElement, path);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException or FormatException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message.TrimEnd('.')}", "an adapter's configuration as PEFT writes it", "Copy or download it again", broken);
        }
    }

    /// <summary>The file's content, readable by PEFT.</summary>
    /// <param name="adapter">What was trained.</param>
    /// <param name="baseModel">The folder of the model it belongs to.</param>
    public static byte[] Write(LowRankAdapter adapter, string baseModel)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            WriteAlphas(json, adapter);
            json.WriteString("base_model_name_or_path", baseModel);
            json.WriteString("bias", "none");
            json.WriteBoolean("fan_in_fan_out", false);
            json.WriteBoolean("inference_mode", true);
            json.WriteBoolean("init_lora_weights", true);
            json.WritePropertyName("layers_to_transform");
            JsonSerializer.Serialize(json, adapter.Options.LayersToTransform);
            json.WriteNumber("lora_alpha", adapter.Options.Alpha);
            json.WriteNumber("lora_dropout", 0.0);
            json.WriteNull("modules_to_save");
            json.WriteString("peft_type", "LORA");
            json.WriteNumber("r", adapter.Options.Rank);
            WriteRanks(json, adapter);
            json.WritePropertyName("target_modules");
            if (adapter.Options.TargetPattern is { } pattern) json.WriteStringValue(pattern);
            else JsonSerializer.Serialize(json, adapter.Options.Targets());
            json.WriteString("task_type", CausalTask);
            json.WriteBoolean("use_dora", false);
            json.WriteBoolean("use_rslora", adapter.Options.UseRslora);
            json.WriteEndObject();
        }
        return buffer.ToArray();
    }

    /// <summary>
    /// Patterns are written with whole names: PEFT sorts the keys of its files while the first that matches counts, so keys that
    /// overlap could come to mean something else.
    /// </summary>
    private static void WriteRanks(Utf8JsonWriter json, LowRankAdapter adapter)
    {
        json.WriteStartObject("rank_pattern");
        foreach (var module in adapter.Modules.Where(module => module.Rank != adapter.Options.Rank)) json.WriteNumber(module.Name, module.Rank);
        json.WriteEndObject();
    }

    private static void WriteAlphas(Utf8JsonWriter json, LowRankAdapter adapter)
    {
        json.WriteStartObject("alpha_pattern");
        foreach (var module in adapter.Modules)
            if (adapter.Options.Of(module.Name).Alpha is var alpha && !alpha.Equals(adapter.Options.Alpha)) json.WriteNumber(module.Name, alpha);
        json.WriteEndObject();
    }

    private static AdapterConfig Read(JsonElement root, string path)
    {
        var type = Field(root, "peft_type", value => value.GetString());
        if (type != "LORA") throw new UserErrorException($"{path}: peft_type is {type}", "LORA", "Use a LoRA adapter");
        foreach (var name in Unsupported.Concat(root.EnumerateObject().Select(field => field.Name).Where(IsUnknownMethod)))
            if (IsSet(root, name))
                throw new UserErrorException($"{path}: {name} is {root.GetProperty(name).GetRawText()}", "plain LoRA, with this field null, false or empty", "Merge that adapter with PEFT and use the merged model");
        if (IsSet(root, "bias") && Field(root, "bias", value => value.GetString()) is not "none" and var bias)
            throw new UserErrorException($"{path}: bias is {bias}", "\"none\": biases are not trained", "Use an adapter without biases");
        if (root.TryGetProperty("init_lora_weights", out var initialization) && initialization.ValueKind == JsonValueKind.String && !PlainInitializations.Contains(initialization.GetString(), StringComparer.Ordinal))
            throw new UserErrorException($"{path}: init_lora_weights is {initialization.GetRawText()}", "a way that leaves the base weights as they are", "Convert the adapter with PEFT (path_initial_model_for_weight_conversion)");
        if (IsSet(root, "task_type") && Field(root, "task_type", value => value.GetString()) is not CausalTask and var task)
            throw new UserErrorException($"{path}: task_type is {task}", $"{CausalTask}: an adapter of a language model", "Use an adapter that was trained for this task");
        return new AdapterConfig(OptionsOf(root).Validated($"{path}: ", "Use a sound adapter", NameInFile), IsSet(root, "lora_dropout") ? Field(root, "lora_dropout", value => value.GetDouble()) : 0);
    }

    /// <summary>What the file calls a member of <see cref="LoraOptions"/>.</summary>
    private static string NameInFile(string member) => member switch
    {
        "rank" => "r",
        "alpha" => "lora_alpha",
        "targetPattern" => "target_modules",
        _ => JsonNamingPolicy.SnakeCaseLower.ConvertName(member),
    };

    private static LoraOptions OptionsOf(JsonElement root)
    {
        var isPattern = Field(root, "target_modules", value => value.ValueKind) == JsonValueKind.String;
        return new LoraOptions
        {
            Rank = Field(root, "r", value => value.GetInt32()),
            Alpha = Field(root, "lora_alpha", value => value.GetDouble()),
            UseRslora = IsSet(root, "use_rslora") && Field(root, "use_rslora", value => value.GetBoolean()),
            TargetModules = isPattern ? null : Field(root, "target_modules", value => List(value, target => target.GetString()!)),
            TargetPattern = isPattern ? Field(root, "target_modules", value => value.GetString()) : null,
            LayersToTransform = IsSet(root, "layers_to_transform") ? Field(root, "layers_to_transform", value => value.ValueKind == JsonValueKind.Number ? [value.GetInt32()] : List(value, layer => layer.GetInt32())) : null,
            RankPattern = Pattern(root, "rank_pattern", value => value.GetInt32()),
            AlphaPattern = Pattern(root, "alpha_pattern", value => value.GetDouble()),
        };
    }

    /// <summary>A field that must be there, and of the right type.</summary>
    /// <exception cref="FormatException">It is not; the message names it.</exception>
    private static T Field<T>(JsonElement root, string name, Func<JsonElement, T> read)
    {
        if (!root.TryGetProperty(name, out var field)) throw new FormatException($"{name} is missing");
        try
        {
            return read(field);
        }
        catch (Exception wrong) when (wrong is InvalidOperationException or FormatException)
        {
            throw new FormatException($"{name} is {field.GetRawText()}", wrong);
        }
    }

    private static T[] List<T>(JsonElement values, Func<JsonElement, T> read) => [.. values.EnumerateArray().Select(read)];

    /// <summary>In the order of the file: the first key that matches counts.</summary>
    private static Dictionary<string, T> Pattern<T>(JsonElement root, string name, Func<JsonElement, T> read) => !IsSet(root, name)
        ? new Dictionary<string, T>(StringComparer.Ordinal)
        : Field(root, name, value => value.EnumerateObject().ToDictionary(field => field.Name, field => read(field.Value), StringComparer.Ordinal));

    /// <summary>PEFT switches its methods on with fields called use_something.</summary>
    private static bool IsUnknownMethod(string name) => name.StartsWith("use_", StringComparison.Ordinal) && name != "use_rslora" && !Unsupported.Contains(name, StringComparer.Ordinal);

    private static bool IsSet(JsonElement root, string name) => root.TryGetProperty(name, out var field) && field.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => false,
        JsonValueKind.Array => field.GetArrayLength() > 0,
        JsonValueKind.Object => field.EnumerateObject().Any(),
        JsonValueKind.String => field.GetString()!.Length > 0,
        _ => true,
    };
}
