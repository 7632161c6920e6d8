// The reference folders of tests/golden/tokenizers: which there are, and their files as JSON.
using System.Text.Json;
using Sapo.Rollout.Tokenization;
using Sapo.Testing;

namespace Sapo.Rollout.Tests.Tokenization;

/// <summary>Reads the tokenizers' reference values.</summary>
internal static class TokenizerGolden
{
    private const string Set = "tokenizers";

    /// <summary>Every folder of the set that holds a tokenizer.json.</summary>
    public static IEnumerable<string> Folders()
    {
        var root = Golden.PathOf(Set);
        return Directory.Exists(root) ? Directory.GetDirectories(root).Where(folder => File.Exists(Path.Combine(folder, "tokenizer.json"))).Order(StringComparer.Ordinal) : [];
    }

    /// <summary>A file of the set itself, or null where the set lacks it.</summary>
    public static JsonElement? Shared(string name) => Json(Golden.PathOf(Set, name));

    /// <summary>The rows of a file of one folder; none where the folder lacks it.</summary>
    public static IEnumerable<JsonElement> Rows(string folder, string name) =>
        Json(Path.Combine(folder, name)) is { } json ? json.GetProperty("rows").EnumerateArray() : [];

    /// <summary>Every row of one kind of file in all folders, with the folder's tokenizer; fails when there is none.</summary>
    public static IEnumerable<(HuggingFaceTokenizer Tokenizer, string Where, JsonElement Row)> AllRows(string name)
    {
        var count = 0;
        foreach (var folder in Folders())
        {
            var tokenizer = HuggingFaceTokenizer.Load(folder);
            foreach (var row in Rows(folder, name)) yield return (tokenizer, $"{Path.GetFileName(folder)} {name} row {count++}", row);
        }
        Golden.Report($"tokenizers {name}", count);
    }

    public static int[] Ids(this JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];

    public static string? Text(this JsonElement row, string name) =>
        row.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    /// <summary>A JSON file's root, or null where there is no file.</summary>
    public static JsonElement? Json(string path)
    {
        if (!File.Exists(path)) return null;
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        return document.RootElement.Clone();
    }
}
