using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync;

namespace Sapo.Parity.Graph;

/// <summary>One row of a reference batch.</summary>
internal sealed record GoldenRow(long[] Tokens, int PromptLength);

/// <summary>A prompt with its greedy continuation and the log-prob of each of its tokens.</summary>
internal sealed record GoldenContinuation(long[] Prompt, long[] Tokens, float[] LogProbs);

/// <summary>A reference model of golden/hf, imported, with the values that hold for it.</summary>
/// <param name="Folder">Its name.</param>
/// <param name="Values">The folder of its values.</param>
/// <param name="Policy">The model as a published policy.</param>
internal sealed record GoldenModel(string Folder, string Values, PublishedPolicy Policy)
{
    /// <summary>Every folder that holds a model, imported below a scratch folder.</summary>
    public static IEnumerable<GoldenModel> All(string scratch)
    {
        if (!File.Exists(Golden.PathOf("hf", "models.json"))) yield break;
        using var index = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("hf", "models.json")));
        foreach (var model in index.RootElement.GetProperty("models").EnumerateArray())
        {
            var folder = model.GetProperty("folder").GetString()!;
            var values = Golden.PathOf("hf", model.GetProperty("golden").GetString()!);
            if (!Directory.Exists(Golden.PathOf("hf", folder)) || !File.Exists(Path.Combine(values, "golden.json"))) continue;
            var policy = PolicyImporter.Import(Golden.PathOf("hf", folder), Path.Combine(scratch, folder));
            yield return new(folder, values, policy);
        }
    }

    public GoldenRow[] Rows() =>
        [.. Json().GetProperty("rows").EnumerateArray().Select(row => new GoldenRow(Ids(row.GetProperty("tokens")), row.GetProperty("prompt_length").GetInt32()))];

    /// <summary>None where the reference is the short form.</summary>
    public GoldenContinuation[] Continuations() => Json().TryGetProperty("greedy", out var greedy)
        ? [.. greedy.EnumerateArray().Select(item => new GoldenContinuation(
            Ids(item.GetProperty("prompt")), Ids(item.GetProperty("tokens")), [.. item.GetProperty("logp").EnumerateArray().Select(value => value.GetSingle())]))]
        : [];

    public float[] Floats(string name)
    {
        using var file = SafetensorsFile.Open(Path.Combine(Values, "golden.safetensors"));
        return Floats(file, name);
    }

    public static float[] Floats(SafetensorsFile file, string name)
    {
        var entry = file.Find(name) ?? throw new InvalidDataException($"{file.Path} has no {name}");
        var values = new float[entry.Bytes / sizeof(float)];
        WeightConversion.ToSingle(file.Read(entry), entry.Type, values);
        return values;
    }

    public static long[] Ids(JsonElement list) => [.. list.EnumerateArray().Select(id => id.GetInt64())];

    private JsonElement Json()
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Values, "golden.json")));
        return document.RootElement.Clone();
    }
}
