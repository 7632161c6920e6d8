using System.Globalization;

namespace Sapo.Core;

/// <summary>Which policy: 0 is the first one published in a run, and every optimizer step's publication adds 1.</summary>
/// <param name="Value">The number, not negative.</param>
public readonly record struct PolicyVersion(long Value) : IComparable<PolicyVersion>
{
    /// <summary>The version published after this one.</summary>
    public PolicyVersion Next => new(Value + 1);

    /// <inheritdoc />
    public int CompareTo(PolicyVersion other) => Value.CompareTo(other.Value);

    /// <summary>How many versions <paramref name="older"/> lies behind <paramref name="newer"/>: the staleness.</summary>
    public static long operator -(PolicyVersion newer, PolicyVersion older) => newer.Value - older.Value;

    /// <inheritdoc cref="CompareTo"/>
    public static bool operator <(PolicyVersion left, PolicyVersion right) => left.Value < right.Value;

    /// <inheritdoc cref="CompareTo"/>
    public static bool operator >(PolicyVersion left, PolicyVersion right) => left.Value > right.Value;

    /// <inheritdoc cref="CompareTo"/>
    public static bool operator <=(PolicyVersion left, PolicyVersion right) => left.Value <= right.Value;

    /// <inheritdoc cref="CompareTo"/>
    public static bool operator >=(PolicyVersion left, PolicyVersion right) => left.Value >= right.Value;

    /// <inheritdoc />
    public override string ToString() => "v" + Value.ToString("D6", CultureInfo.InvariantCulture);
}
