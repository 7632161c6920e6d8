using System.Text.Json;

namespace Sapo.Parity.Graph;

/// <summary>The options of one reference case, with the history its penalties look at.</summary>
internal sealed record SamplingCase
{
    private static readonly string[] Known =
        ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty", "prompt", "output"];

    public float Temperature { get; init; } = 1;

    public long TopK { get; init; }

    public float TopP { get; init; } = 1;

    public float MinP { get; init; }

    /// <summary>vLLM's order: min-p before top-k and top-p.</summary>
    public bool MinPFirst { get; init; }

    public float Repetition { get; init; } = 1;

    public float Frequency { get; init; }

    public float Presence { get; init; }

    public long[] Prompt { get; init; } = [];

    public long[] Output { get; init; } = [];

    public bool Cuts => TopK > 0 || TopP < 1 || MinP > 0;

    /// <summary>Reads a case's options; one that is not known here fails, so that none is passed over.</summary>
    public static SamplingCase Read(JsonElement options, bool minPFirst = false)
    {
        foreach (var option in options.EnumerateObject()) Assert.Contains(option.Name, Known);
        return new SamplingCase
        {
            Temperature = Number("temperature", 1),
            TopK = (long)Number("top_k", 0),
            TopP = Number("top_p", 1),
            MinP = Number("min_p", 0),
            MinPFirst = minPFirst,
            Repetition = Number("repetition_penalty", 1),
            Frequency = Number("frequency_penalty", 0),
            Presence = Number("presence_penalty", 0),
            Prompt = Ids("prompt"),
            Output = Ids("output"),
        };

        float Number(string name, float off) => options.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetSingle() : off;
        long[] Ids(string name) => options.TryGetProperty(name, out var ids) ? [.. ids.EnumerateArray().Select(id => id.GetInt64())] : [];
    }

    /// <summary>Rows with these options.</summary>
    public static Draws Draws(SamplingCase[] rows, float[] uniform) => Graph.Draws.Plain(rows.Length) with
    {
        Uniform = uniform,
        Temperature = [.. rows.Select(row => row.Temperature)],
        TopK = [.. rows.Select(row => row.TopK)],
        TopP = [.. rows.Select(row => row.TopP)],
        MinP = [.. rows.Select(row => row.MinP)],
        MinPFirst = [.. rows.Select(row => row.MinPFirst)],
        Truncate = rows.Any(row => row.Cuts),
        Repetition = [.. rows.Select(row => row.Repetition)],
        Frequency = [.. rows.Select(row => row.Frequency)],
        Presence = [.. rows.Select(row => row.Presence)],
        History = [.. rows.Select(row => (long[])[.. row.Prompt, .. row.Output])],
        PromptLength = [.. rows.Select(row => (long)row.Prompt.Length)],
    };
}
