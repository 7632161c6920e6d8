namespace Sapo.Core.Models;

/// <summary>
/// Cosines and sines of every rotary angle, as Hugging Face transformers computes them: frequency and angle are rounded
/// to 32 bits (that rounding is part of the models as they were trained), the cosine of that angle is then exact.
/// Engines' graphs hold this table; the learner computes the same on its device, by the same roundings.
/// </summary>
/// <param name="Cosines">[positions, HeadSize / 2], row-major. Element i turns the pair (i, i + HeadSize / 2) of a head.</param>
/// <param name="Sines">Likewise.</param>
public sealed record RotaryTable(float[] Cosines, float[] Sines)
{
    /// <summary>The table of a model.</summary>
    /// <param name="config">The model: head size, rotary base and scaling.</param>
    /// <param name="positions">Number of positions, from 0.</param>
    public static RotaryTable Compute(ModelConfig config, int positions)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(positions);
        float[] frequencies = [.. config.RotaryFrequencies().Select(frequency => (float)frequency)];
        var table = new RotaryTable(new float[(long)positions * frequencies.Length], new float[(long)positions * frequencies.Length]);
        for (var position = 0; position < positions; position++)
            for (var i = 0; i < frequencies.Length; i++)
            {
                var (sine, cosine) = Math.SinCos(position * frequencies[i]);
                table.Cosines[position * frequencies.Length + i] = (float)cosine;
                table.Sines[position * frequencies.Length + i] = (float)sine;
            }
        return table;
    }
}
