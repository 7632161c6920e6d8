namespace Sapo.Learner;

/// <summary>Where a learner's policy comes from, and what it is compared with.</summary>
/// <param name="ModelFolder">config.json and safetensors of a supported architecture; F16 and BF16 are widened.</param>
public sealed record PolicySource(string ModelFolder)
{
    /// <summary>An adapter in PEFT's format to start from; null starts a new one where the learner's options ask for low-rank adaptation.</summary>
    public string? AdapterFolder { get; init; }

    /// <summary>
    /// The folder of the reference policy, for objectives that need one; null takes the policy as it is at the first policy step.
    /// With an adapter, naming <see cref="ModelFolder"/> itself takes the base with the adapter left out.
    /// </summary>
    public string? ReferenceFolder { get; init; }

    /// <summary>The seed that a new adapter's A is drawn with.</summary>
    public long Seed { get; init; } = 1;
}
