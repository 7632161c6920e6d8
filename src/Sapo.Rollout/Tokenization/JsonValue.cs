// The JSON files beside a model, read so that every complaint names the file and the member it is about.
using System.Text.Json;
using Sapo.Core;

namespace Sapo.Rollout.Tokenization;

/// <summary>One value of a JSON file together with the place where it stands.</summary>
/// <param name="Element">The value.</param>
/// <param name="File">The file's path, named in errors.</param>
/// <param name="Place">Member names and indices from the root, such as <c>model.merges[3]</c>; empty at the root.</param>
internal readonly record struct JsonValue(JsonElement Element, string File, string Place)
{
    private const string Remedy = "Use the tokenizer files that were saved with the model";

    /// <summary>Parses a file and hands its root to <paramref name="read"/>; broken JSON becomes one clear error.</summary>
    public static T Read<T>(string path, Func<JsonValue, T> read)
    {
        try
        {
            using var document = JsonDocument.Parse(System.IO.File.ReadAllBytes(path));
            var root = new JsonValue(document.RootElement, path, "");
            if (root.Element.ValueKind != JsonValueKind.Object) throw root.Error($"the file holds a JSON {root.Kind}", "an object");
            return read(root);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException or FormatException or IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"{path} cannot be read: {broken.Message}", "a complete JSON file", "Copy or download it again", broken);
        }
    }

    /// <summary>An error about this value.</summary>
    public UserErrorException Error(string found, string? expected, string remedy = Remedy) =>
        new($"{File}: {(Place.Length == 0 ? "" : Place + ": ")}{found}", expected, remedy);

    /// <summary>An error about a part of the file that this reader does not implement.</summary>
    public UserErrorException Unsupported(string what, string supported) =>
        Error($"{what} is not supported", supported, "Use a tokenizer of a supported family (byte-level BPE: Qwen, Llama 3, SmolLM2, GPT-2; SentencePiece BPE with byte fallback: Llama 2, Mistral)");

    /// <summary>A member that may be absent; null counts as absent.</summary>
    public JsonValue? Find(string name)
    {
        if (Element.ValueKind != JsonValueKind.Object) throw Error($"found a JSON {Kind}", "an object");
        return Element.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? new JsonValue(value, File, At(name)) : null;
    }

    /// <summary>A member that must be there.</summary>
    public JsonValue Member(string name) => Find(name) ?? throw Error($"{name} is missing", "it to be there");

    /// <summary>The members of an object.</summary>
    public IEnumerable<(string Name, JsonValue Value)> Members()
    {
        if (Element.ValueKind != JsonValueKind.Object) throw Error($"found a JSON {Kind}", "an object");
        foreach (var member in Element.EnumerateObject()) yield return (member.Name, new JsonValue(member.Value, File, At(member.Name)));
    }

    /// <summary>The items of an array.</summary>
    public IEnumerable<JsonValue> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array) throw Error($"found a JSON {Kind}", "an array");
        var index = 0;
        foreach (var item in Element.EnumerateArray()) yield return new JsonValue(item, File, $"{Place}[{index++}]");
    }

    /// <summary>This value as a string.</summary>
    public string AsString() => Element.ValueKind == JsonValueKind.String ? Element.GetString()! : throw Error($"found a JSON {Kind}", "a string");

    /// <summary>This value as a number from 0 to 2^31 - 1.</summary>
    public int AsCount() => Element.ValueKind == JsonValueKind.Number && Element.TryGetInt32(out var number) && number >= 0
        ? number
        : throw Error($"found {Element.GetRawText()}", "a whole number, 0 or more");

    /// <summary>This value as true or false.</summary>
    public bool AsBool() => Element.ValueKind is JsonValueKind.True or JsonValueKind.False ? Element.GetBoolean() : throw Error($"found a JSON {Kind}", "true or false");

    /// <summary>A member as text, or null where it is absent.</summary>
    public string? String(string name) => Find(name)?.AsString();

    /// <summary>A member as true or false; absent means <paramref name="absent"/>.</summary>
    public bool Bool(string name, bool absent = false) => Find(name)?.AsBool() ?? absent;

    /// <summary>A token's text, written either as a string or as an object with a <c>content</c>.</summary>
    public string AsTokenText() => Element.ValueKind == JsonValueKind.Object ? Member("content").AsString() : AsString();

    private string Kind => Element.ValueKind.ToString().ToLowerInvariant();

    private string At(string name) => Place.Length == 0 ? name : $"{Place}.{name}";
}
