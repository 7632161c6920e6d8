namespace Sapo.Core.Models;

/// <summary>What an engine's weights are stored in. Log-probs and the draw are computed in 32 bits at every precision.</summary>
public enum Precision
{
    /// <summary>32-bit floats: the learner's own numbers.</summary>
    Fp32,

    /// <summary>Matrices in 8 bits with one scale per 32 weights; everything else in 32-bit floats.</summary>
    Int8,

    /// <summary>Matrices in 4 bits with one scale per 32 weights; everything else in 32-bit floats.</summary>
    Int4,

    /// <summary>Weights, activations and caches in IEEE 16-bit floats; logits in 32 bits.</summary>
    Fp16,

    /// <summary>The same in bfloat16.</summary>
    Bf16,
}

/// <summary>The names of precisions, as options and files have them.</summary>
public static class PrecisionNames
{
    /// <summary>All names.</summary>
    public static IReadOnlyList<string> All { get; } = [.. Enum.GetValues<Precision>().Select(Name)];

    /// <summary>The name of a precision: <c>int8</c>.</summary>
    public static string Name(this Precision precision) => precision.ToString().ToLowerInvariant();

    /// <summary>The precision of a name.</summary>
    /// <exception cref="ArgumentException">There is none of that name; options are checked before.</exception>
    public static Precision Parse(string name)
    {
        foreach (var precision in Enum.GetValues<Precision>())
            if (precision.Name() == name) return precision;
        throw new ArgumentException($"{name} is none of {string.Join(", ", All)}.", nameof(name));
    }
}
