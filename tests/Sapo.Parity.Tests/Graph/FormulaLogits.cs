using System.Text.Json;

namespace Sapo.Parity.Graph;

/// <summary>Logits over a full vocabulary by the formula of the reference set.</summary>
internal static class FormulaLogits
{
    public static float[] Make(JsonElement item, int vocabulary) => [.. Enumerable.Range(0, vocabulary).Select(i => At(item, i))];

    public static float At(JsonElement item, int i)
    {
        var hash = ((ulong)i * 2654435761 + item.GetProperty("shift").GetUInt64()) % (1UL << 32);
        var t = 2 * (hash / 4294967296.0) - 1;
        var cube = t * t * t;
        var ninth = cube * cube * cube;
        var scale = item.GetProperty("scale").GetDouble();
        return (float)(item.GetProperty("kind").GetString() == "cubic" ? scale * cube : scale * (ninth * ninth * ninth) + t);
    }
}
