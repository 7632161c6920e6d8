namespace Sapo.Hybrid.Doctor;

/// <summary>How a finding stands.</summary>
public enum FindingStatus
{
    /// <summary>As it should be.</summary>
    Good,

    /// <summary>Sapo works, but slower or with less room than it could.</summary>
    Attention,

    /// <summary>Sapo cannot work like this.</summary>
    Wrong,
}

/// <summary>One thing <c>sapo doctor</c> looked at.</summary>
/// <param name="Area">What was looked at: "ONNX Runtime", "Memory".</param>
/// <param name="Found">What was found and chosen.</param>
/// <param name="Status">How it stands.</param>
/// <param name="Remedy">What to do; null exactly where <paramref name="Status"/> is <see cref="FindingStatus.Good"/>.</param>
public sealed record DoctorFinding(string Area, string Found, FindingStatus Status, string? Remedy);
