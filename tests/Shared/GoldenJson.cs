using System.Text.Json;

namespace Sapo.Testing;

/// <summary>Reads the JSON of reference values: numbers, the strings "NaN", "Infinity", "-Infinity", and nested arrays of them.</summary>
internal static class GoldenJson
{
    /// <summary>The parsed file; a set of reference values without it fails the test with a message that says so.</summary>
    public static JsonElement Read(params string[] path)
    {
        string file = Golden.PathOf(path);
        if (!File.Exists(file)) Golden.Report(string.Join('/', path), 0);
        return JsonDocument.Parse(File.ReadAllBytes(file)).RootElement;
    }

    public static double Number(this JsonElement element) => element.ValueKind == JsonValueKind.String
        ? double.Parse(element.GetString()!, System.Globalization.CultureInfo.InvariantCulture)
        : element.ValueKind is JsonValueKind.True or JsonValueKind.False ? (element.GetBoolean() ? 1 : 0) : element.GetDouble();

    /// <summary>All numbers of nested arrays in order.</summary>
    public static double[] Flat(this JsonElement element) => element.ValueKind == JsonValueKind.Array
        ? [.. element.EnumerateArray().SelectMany(Flat)]
        : [element.Number()];

    public static double[][] Rows(this JsonElement element) => [.. element.EnumerateArray().Select(Flat)];

    public static bool[] Flags(this JsonElement element) => [.. element.Flat().Select(value => value != 0)];

    public static bool IsNull(this JsonElement element) => element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    public static JsonElement? Find(this JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement found) && !found.IsNull() ? found : null;

    public static double? OptionalNumber(this JsonElement element, string name) => element.Find(name)?.Number();
}

/// <summary>What a golden test compared and what it left out, and why; printed at the end of the test.</summary>
internal sealed class GoldenCount(string what)
{
    private readonly SortedDictionary<string, int> compared = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, int> excluded = new(StringComparer.Ordinal);

    public void Compared(string kind) => compared[kind] = compared.GetValueOrDefault(kind) + 1;

    public void Excluded(string reason) => excluded[reason] = excluded.GetValueOrDefault(reason) + 1;

    public int TotalCompared => compared.Values.Sum();

    public void Report()
    {
        foreach ((string kind, int count) in compared) Console.WriteLine($"golden: {what}: {kind}: {count} compared");
        foreach ((string reason, int count) in excluded) Console.WriteLine($"golden: {what}: {count} not compared: {reason}");
        Golden.Report(what, TotalCompared);
    }
}
