// genai_config.json of a folder that ONNX Runtime GenAI's own model builder made. GenAI refuses members it does not know, and
// so does this reader: a member may change what is computed. What GenAI can do without has GenAI's default.
using System.Text.Json;

namespace Sapo.Core.Models;

/// <summary>What genai_config.json says of a decoder.</summary>
public sealed record StockModelConfig
{
    /// <summary>The file's name.</summary>
    public const string FileName = "genai_config.json";

    private const string Remedy = "Build the folder again, or import the Hugging Face folder it was built from";

    private static readonly string[] Types =
    [
        "chatglm", "decoder", "ernie4_5", "gemma", "gemma2", "gemma3_text", "granite", "internlm2", "llama", "mistral", "nemotron", "olmo", "phi", "phi3", "phimoe", "qwen2", "qwen3", "smollm3",
    ];

    private static readonly string[] ModelMembers =
    [
        "type", "context_length", "vocab_size", "decoder", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
        "bot_token_id", "eot_token_id", "bor_token_id", "eor_token_id",
    ];

    private static readonly string[] DecoderMembers =
        ["session_options", "run_options", "filename", "head_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "inputs", "outputs"];

    private static readonly string[] SessionMembers =
    [
        "log_id", "provider_options", "intra_op_num_threads", "inter_op_num_threads", "enable_cpu_mem_arena", "enable_mem_pattern", "log_severity_level", "log_verbosity_level",
        "enable_profiling", "use_env_allocators", "graph_optimization_level",
    ];

    private static readonly string[] SearchMembers =
    [
        "do_sample", "min_length", "max_length", "batch_size", "num_beams", "num_return_sequences", "temperature", "top_k", "top_p", "early_stopping", "no_repeat_ngram_size",
        "diversity_penalty", "length_penalty", "repetition_penalty", "past_present_share_buffer", "random_seed", "chunk_size",
    ];

    /// <summary>GenAI's name of the architecture.</summary>
    public required string Type { get; init; }

    /// <summary>The graph's file, within the folder.</summary>
    public required string GraphFile { get; init; }

    /// <summary>Width of the logits.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Longest sequence, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Width of a head in the caches.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Ids that end a sequence; none where the file names none.</summary>
    public required IReadOnlyList<int> EndTokenIds { get; init; }

    /// <summary>Names of inputs and outputs by GenAI's own: <c>input_ids</c>, <c>past_key_names</c> (with %d for the layer), <c>logits</c> and so on.</summary>
    public required IReadOnlyDictionary<string, string> Names { get; init; }

    /// <summary>Reads a folder's file.</summary>
    /// <exception cref="UserErrorException">It is missing, broken, or says what would not be done.</exception>
    public static StockModelConfig Read(string folder)
    {
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a folder of ONNX Runtime GenAI's model builder", "Check the path");
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            return Read(path, document.RootElement);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException or FormatException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "the JSON object that the model builder writes", Remedy, broken);
        }
    }

    private static StockModelConfig Read(string path, JsonElement root)
    {
        CheckMembers(path, root, "", ["model", "search", "engine"]);
        if (root.TryGetProperty("search", out var search)) CheckMembers(path, search, "search", SearchMembers);
        var model = Member(path, root, "", "model");
        CheckMembers(path, model, "model", ModelMembers);
        var decoder = Member(path, model, "model", "decoder");
        CheckMembers(path, decoder, "model.decoder", DecoderMembers);
        if (decoder.TryGetProperty("session_options", out var session)) CheckSession(path, session);
        var type = Member(path, model, "model", "type").GetString()!;
        if (!Types.Contains(type, StringComparer.Ordinal)) throw Error(path, $"model.type is \"{type}\"", $"a decoder that GenAI knows: {string.Join(", ", Types)}");
        var file = Member(path, decoder, "model.decoder", "filename").GetString()!;
        if (file.Length == 0 || file != Path.GetFileName(file)) throw Error(path, $"model.decoder.filename is \"{file}\"", "a plain name within the folder");
        var config = new StockModelConfig
        {
            Type = type,
            GraphFile = file,
            VocabSize = Positive(path, model, "model", "vocab_size"),
            ContextLength = Positive(path, model, "model", "context_length"),
            HeadSize = Positive(path, decoder, "model.decoder", "head_size"),
            EndTokenIds = Ids(model, "eos_token_id"),
            Names = ReadNames(path, decoder),
        };
        foreach (var (name, ids) in new[] { ("eos_token_id", config.EndTokenIds), ("pad_token_id", Ids(model, "pad_token_id")) })
            foreach (var id in ids)
                if (id < 0 || id >= config.VocabSize) throw Error(path, $"model.{name} is {id}", $"0 to {config.VocabSize - 1}, as model.vocab_size says");
        if (config.HeadSize % 16 != 0) throw Error(path, $"model.decoder.head_size is {config.HeadSize}", "a multiple of 16, which GroupQueryAttention wants on the CPU");
        return config;
    }

    private static Dictionary<string, string> ReadNames(string path, JsonElement decoder)
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["input_ids"] = "input_ids",
            ["attention_mask"] = "attention_mask",
            ["position_ids"] = "position_ids",
            ["past_key_names"] = "past_key_values.%d.key",
            ["past_value_names"] = "past_key_values.%d.value",
            ["logits"] = "logits",
            ["present_key_names"] = "present.%d.key",
            ["present_value_names"] = "present.%d.value",
        };
        foreach (var (section, known) in new[] { ("inputs", (string[])["input_ids", "attention_mask", "position_ids", "past_key_names", "past_value_names"]), ("outputs", ["logits", "present_key_names", "present_value_names"]) })
        {
            if (!decoder.TryGetProperty(section, out var given)) continue;
            CheckMembers(path, given, $"model.decoder.{section}", known);
            foreach (var member in given.EnumerateObject()) names[member.Name] = member.Value.GetString()!;
        }
        return names;
    }

    private static void CheckSession(string path, JsonElement session)
    {
        foreach (var member in session.EnumerateObject())
            if (!SessionMembers.Contains(member.Name, StringComparer.Ordinal) && member.Value.ValueKind != JsonValueKind.String)
                throw Error(path, $"model.decoder.session_options.{member.Name} is {member.Value.GetRawText()}", "an entry of ONNX Runtime's, as a text");
        if (!session.TryGetProperty("provider_options", out var providers)) return;
        foreach (var provider in providers.EnumerateArray().SelectMany(entry => entry.EnumerateObject()))
            if (!string.Equals(provider.Name, "cpu", StringComparison.OrdinalIgnoreCase))
                throw Error(path, $"model.decoder.session_options.provider_options names {provider.Name}", "none or cpu: stock folders are run on the CPU here");
    }

    private static void CheckMembers(string path, JsonElement element, string section, string[] known)
    {
        foreach (var member in element.EnumerateObject())
            if (!known.Contains(member.Name, StringComparer.Ordinal))
                throw Error(path, $"{(section.Length == 0 ? "" : section + ".")}{member.Name} is not known", $"members that a plain decoder has: {string.Join(", ", known)}");
    }

    private static JsonElement Member(string path, JsonElement element, string section, string name) =>
        element.TryGetProperty(name, out var value) ? value : throw Error(path, $"{(section.Length == 0 ? "" : section + ".")}{name} is missing", "it is needed");

    private static int Positive(string path, JsonElement element, string section, string name) => Member(path, element, section, name).GetInt32() is > 0 and var value
        ? value
        : throw Error(path, $"{section}.{name} is not positive", "a positive number");

    private static int[] Ids(JsonElement model, string name) => !model.TryGetProperty(name, out var value)
        ? []
        : value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray().Select(id => id.GetInt32())] : [value.GetInt32()];

    private static UserErrorException Error(string path, string found, string expected) => new($"{path}: {found}", expected, Remedy);
}
