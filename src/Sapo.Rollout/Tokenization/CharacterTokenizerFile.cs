using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sapo.Core;

namespace Sapo.Rollout.Tokenization;

/// <summary>
/// Writes the tokenizer of a model with one token per character: pad, begin and end, then the characters in the order
/// given. The files are an ordinary byte-level BPE without merges, so Hugging Face tokenizers and ONNX Runtime GenAI
/// (tokenizer_class Qwen2Tokenizer) read the same ids from them as <see cref="HuggingFaceTokenizer"/>.
/// </summary>
/// <remarks>
/// The begin token is added by a TemplateProcessing post-processor: encode with special tokens and it comes first. There
/// is no unknown token, so <see cref="HuggingFaceTokenizer"/> refuses a text with any other character.
/// </remarks>
public static class CharacterTokenizerFile
{
    /// <summary>Id of <c>&lt;pad&gt;</c>.</summary>
    public const int PadId = 0;

    /// <summary>Id of <c>&lt;bos&gt;</c>, which begins every sequence.</summary>
    public const int BeginId = 1;

    /// <summary>Id of <c>&lt;eos&gt;</c>, which ends every sequence.</summary>
    public const int EndId = 2;

    /// <summary>Id of the first character.</summary>
    public const int FirstCharacterId = 3;

    private const string Pad = "<pad>", Begin = "<bos>", End = "<eos>";
    private static readonly JsonSerializerOptions Layout = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json.</summary>
    /// <param name="folder">The model's folder; made if it does not exist.</param>
    /// <param name="characters">The characters, each once, all of them printable ASCII. Ids follow this order from <see cref="FirstCharacterId"/>.</param>
    /// <param name="maxLength">The longest sequence of the model, in tokens.</param>
    /// <exception cref="UserErrorException">A character is not printable ASCII or occurs twice.</exception>
    public static void Write(string folder, string characters, int maxLength)
    {
        foreach (var character in characters)
        {
            if (character is < ' ' or > '~') throw new UserErrorException($"The character U+{(int)character:X4} cannot be a token of its own", "printable ASCII", "Choose other characters");
            if (characters.Count(other => other == character) > 1) throw new UserErrorException($"The character '{character}' is given twice", "each character once", "Remove one of them");
        }
        Directory.CreateDirectory(folder);
        WriteFile(folder, "tokenizer.json", Tokenizer(characters));
        WriteFile(folder, "tokenizer_config.json", Configuration(maxLength));
        WriteFile(folder, "special_tokens_map.json", new JsonObject { ["bos_token"] = Begin, ["eos_token"] = End, ["pad_token"] = Pad });
    }

    private static JsonObject Tokenizer(string characters)
    {
        var vocabulary = new JsonObject { [Pad] = PadId, [Begin] = BeginId, [End] = EndId };
        for (var i = 0; i < characters.Length; i++) vocabulary[ByteLevelAlphabet.Character((byte)characters[i]).ToString()] = FirstCharacterId + i;
        return new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray(AddedToken(Pad, PadId), AddedToken(Begin, BeginId), AddedToken(End, EndId)),
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(addPrefixSpace: false, useRegex: false),
            ["post_processor"] = new JsonObject
            {
                ["type"] = "TemplateProcessing",
                ["single"] = new JsonArray(BeginItem(0), TextItem("A", 0)),
                ["pair"] = new JsonArray(BeginItem(0), TextItem("A", 0), BeginItem(1), TextItem("B", 1)),
                ["special_tokens"] = new JsonObject { [Begin] = new JsonObject { ["id"] = Begin, ["ids"] = new JsonArray(BeginId), ["tokens"] = new JsonArray(Begin) } },
            },
            ["decoder"] = ByteLevel(addPrefixSpace: true, useRegex: true),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray(),
            },
        };
    }

    private static JsonObject Configuration(int maxLength) => new()
    {
        ["added_tokens_decoder"] = new JsonObject { [$"{PadId}"] = Flags(Pad), [$"{BeginId}"] = Flags(Begin), [$"{EndId}"] = Flags(End) },
        ["add_bos_token"] = true,
        ["add_prefix_space"] = false,
        ["bos_token"] = Begin,
        ["eos_token"] = End,
        ["pad_token"] = Pad,
        ["unk_token"] = null,
        ["clean_up_tokenization_spaces"] = false,
        ["model_max_length"] = maxLength,
        ["split_special_tokens"] = false,
        ["tokenizer_class"] = "Qwen2Tokenizer",
    };

    private static JsonObject AddedToken(string content, int id)
    {
        var token = new JsonObject { ["id"] = id };
        foreach (var (name, value) in Flags(content).ToList()) token[name] = value?.DeepClone();
        return token;
    }

    private static JsonObject Flags(string content) => new()
    {
        ["content"] = content, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false, ["special"] = true,
    };

    private static JsonObject ByteLevel(bool addPrefixSpace, bool useRegex) => new()
    {
        ["type"] = "ByteLevel", ["add_prefix_space"] = addPrefixSpace, ["trim_offsets"] = useRegex, ["use_regex"] = useRegex,
    };

    private static JsonObject BeginItem(int type) => new() { ["SpecialToken"] = new JsonObject { ["id"] = Begin, ["type_id"] = type } };

    private static JsonObject TextItem(string name, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = name, ["type_id"] = type } };

    private static void WriteFile(string folder, string name, JsonObject content) =>
        AtomicFile.WriteAllBytes(Path.Combine(folder, name), JsonSerializer.SerializeToUtf8Bytes(content, Layout));
}
