namespace Sapo.Learner.Objectives;

/// <summary>
/// What some objectives need of whole next-token distributions, per token; every member is optional.
/// Computed on the device without gradient and brought to the host as these few numbers.
/// </summary>
public sealed record TokenDistributions
{
    /// <summary>[N][K] probabilities of the anchor policy at its K most likely tokens (DPPO Top-K).</summary>
    public double[][]? AnchorTopK { get; init; }

    /// <summary>[N][K] probabilities of the current policy at the same tokens (DPPO Top-K).</summary>
    public double[][]? CurrentTopK { get; init; }

    /// <summary>[N] whether the sampled token is among those K (DPPO Top-K).</summary>
    public bool[]? SampledInTopK { get; init; }

    /// <summary>[N] KL(old || current) over the vocabulary, in nats (guard-text).</summary>
    public double[]? OldToCurrentKl { get; init; }

    /// <summary>[N] variance, under the old policy, of log current - log old over the vocabulary (guard-text).</summary>
    public double[]? LogRatioVariance { get; init; }

    /// <summary>[N] m_H: the predicted change of the objective of a step on this token alone (CAPO).</summary>
    public double[]? ObjectiveShift { get; init; }

    /// <summary>[N] m_F: the predicted squared movement of the policy of a step on this token alone (CAPO).</summary>
    public double[]? PolicyShift { get; init; }

    /// <summary>Tokens [start, end) of every array.</summary>
    internal TokenDistributions Slice(int start, int end) => new()
    {
        AnchorTopK = AnchorTopK?[start..end],
        CurrentTopK = CurrentTopK?[start..end],
        SampledInTopK = SampledInTopK?[start..end],
        OldToCurrentKl = OldToCurrentKl?[start..end],
        LogRatioVariance = LogRatioVariance?[start..end],
        ObjectiveShift = ObjectiveShift?[start..end],
        PolicyShift = PolicyShift?[start..end],
    };

    /// <summary>The facts of several micro-batches, which all hold the same ones, as those of their whole.</summary>
    internal static TokenDistributions Join(IReadOnlyList<TokenDistributions> parts)
    {
        T[]? Joined<T>(Func<TokenDistributions, T[]?> select) => select(parts[0]) is null ? null : [.. parts.SelectMany(part => select(part)!)];
        return new TokenDistributions
        {
            AnchorTopK = Joined(part => part.AnchorTopK),
            CurrentTopK = Joined(part => part.CurrentTopK),
            SampledInTopK = Joined(part => part.SampledInTopK),
            OldToCurrentKl = Joined(part => part.OldToCurrentKl),
            LogRatioVariance = Joined(part => part.LogRatioVariance),
            ObjectiveShift = Joined(part => part.ObjectiveShift),
            PolicyShift = Joined(part => part.PolicyShift),
        };
    }

    /// <summary>Checks that every array has <paramref name="tokens"/> entries.</summary>
    internal void Validate(int tokens)
    {
        (string Name, Array? Values)[] arrays =
        [
            (nameof(AnchorTopK), AnchorTopK), (nameof(CurrentTopK), CurrentTopK), (nameof(SampledInTopK), SampledInTopK),
            (nameof(OldToCurrentKl), OldToCurrentKl), (nameof(LogRatioVariance), LogRatioVariance),
            (nameof(ObjectiveShift), ObjectiveShift), (nameof(PolicyShift), PolicyShift),
        ];
        foreach ((string name, Array? values) in arrays)
            if (values is not null && values.Length != tokens)
                throw new InvalidDataException($"{name} has {values.Length} values, RowOffsets implies {tokens}.");
    }
}
