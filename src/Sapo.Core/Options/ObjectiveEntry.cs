using System.Reflection;
using System.Text.Json;

namespace Sapo.Core.Options;

/// <summary>How sure the text of an objective is.</summary>
public enum ObjectiveStatus
{
    /// <summary>The published equations, read in the paper or in its code.</summary>
    Complete,

    /// <summary>The idea is published, some constants or details were not found and are ours.</summary>
    Partial,

    /// <summary>Rebuilt from an abstract; not to be taken for the paper's exact objective.</summary>
    Reconstruction,

    /// <summary>Our own translation of an idea from another domain.</summary>
    Adaptation,
}

/// <summary>One objective that a run file can name.</summary>
/// <param name="Name">Its name in run files.</param>
/// <param name="Title">Its name in words.</param>
/// <param name="ArxivId">The paper.</param>
/// <param name="Status">How sure its text is.</param>
/// <param name="Note">What a reader must know before using it; empty where there is nothing.</param>
/// <param name="Defaults">Default of every knob that has one.</param>
/// <param name="Unset">Knobs that the objective also has, off by default, by property name.</param>
public sealed record ObjectiveEntry(
    string Name, string Title, string ArxivId, ObjectiveStatus Status, string Note, ObjectiveOptions Defaults, params IReadOnlyList<string> Unset)
{
    /// <summary>Knobs that every objective has.</summary>
    private static readonly string[] Shared =
    [
        nameof(ObjectiveOptions.Name), nameof(ObjectiveOptions.Aggregation), nameof(ObjectiveOptions.NormConstant),
        nameof(ObjectiveOptions.LogRatioClamp), nameof(ObjectiveOptions.Correction), nameof(ObjectiveOptions.Kl),
        nameof(ObjectiveOptions.EntropyBonus), nameof(ObjectiveOptions.OffPolicyThreshold), nameof(ObjectiveOptions.OffPolicyAgainst),
        nameof(ObjectiveOptions.TopEntropyFraction),
    ];

    private static readonly PropertyInfo[] Properties = typeof(ObjectiveOptions).GetProperties(BindingFlags.Public | BindingFlags.Instance);

    /// <summary>Fills in knobs whose default depends on another knob.</summary>
    internal Func<ObjectiveOptions, ObjectiveOptions> Dependent { get; init; } = options => options;

    /// <summary>The knobs of this objective alone, as they are written in run files, in the order of <see cref="ObjectiveOptions"/>.</summary>
    public IReadOnlyList<string> Knobs { get; } =
        [.. Properties.Where(property => Own(property, Defaults, Unset)).Select(property => JsonName(property))];

    /// <summary>
    /// <paramref name="given"/> with this objective's defaults filled in. An aggregation given without norm constant does not
    /// inherit the default aggregation's.
    /// </summary>
    /// <exception cref="UserErrorException">A knob is not this objective's, or its value is out of range.</exception>
    internal ObjectiveOptions Resolve(ObjectiveOptions given)
    {
        ObjectiveOptions resolved = given with { };
        foreach (PropertyInfo property in Properties)
        {
            object? value = property.GetValue(given);
            if (value is not null && !Shared.Contains(property.Name, StringComparer.Ordinal) && !Own(property, Defaults, Unset))
                throw new UserErrorException($"objective.{JsonName(property)} is set, but {Name} does not use it", null,
                    $"Remove it; {Name} takes {(Knobs.Count == 0 ? "no knobs of its own" : string.Join(", ", Knobs))}");
            bool otherAggregation = property.Name == nameof(ObjectiveOptions.NormConstant) && given.Aggregation is not null && given.Aggregation != Defaults.Aggregation;
            if (value is null && !otherAggregation) property.SetValue(resolved, property.GetValue(Defaults));
        }
        if (resolved.OffPolicyThreshold is not null) resolved = resolved with { OffPolicyAgainst = resolved.OffPolicyAgainst ?? "sampler" };
        resolved = Dependent(resolved);
        ObjectiveRanges.Check(resolved);
        return resolved;
    }

    private static bool Own(PropertyInfo property, ObjectiveOptions defaults, IReadOnlyList<string> unset) =>
        !Shared.Contains(property.Name, StringComparer.Ordinal)
        && (property.GetValue(defaults) is not null || unset.Contains(property.Name, StringComparer.Ordinal));

    private static string JsonName(PropertyInfo property) => JsonNamingPolicy.CamelCase.ConvertName(property.Name);
}
