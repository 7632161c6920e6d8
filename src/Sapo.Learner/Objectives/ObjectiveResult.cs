namespace Sapo.Learner.Objectives;

/// <summary>A batch's share of J, of its gradient, and of what is worth logging.</summary>
public sealed record ObjectiveResult
{
    /// <summary>This batch's share of J (maximised; the loss is -J).</summary>
    public required double Value { get; init; }

    /// <summary>[N] dJ/dl; 0 for tokens that are not counted.</summary>
    public required double[] Gradient { get; init; }

    /// <summary>[N] dJ/dH of the current policy's entropy; null without an entropy bonus.</summary>
    public double[]? EntropyGradient { get; init; }

    /// <summary>
    /// [N] W of the policy term: its gradient is W * A * c, c being the aggregation's coefficient (mismatch weights, KL and
    /// entropy apart). 0 for tokens that are not counted.
    /// </summary>
    public required double[] Weights { get; init; }

    /// <summary>
    /// Numbers worth logging. For objectives of sequence scope they are shares of the mini-batch, which add up over its
    /// micro-batches.
    /// </summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>The result for a mini-batch from those of its micro-batches, in row order.</summary>
    public static ObjectiveResult Sum(IReadOnlyList<ObjectiveResult> parts)
    {
        if (parts.Count == 0) throw new ArgumentException("There is no part to sum up.", nameof(parts));
        if (parts.Count == 1) return parts[0];
        var metrics = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (ObjectiveResult part in parts)
            foreach ((string name, double share) in part.Metrics)
                metrics[name] = metrics.GetValueOrDefault(name) + share;
        return new ObjectiveResult
        {
            Value = parts.Sum(part => part.Value),
            Gradient = [.. parts.SelectMany(part => part.Gradient)],
            EntropyGradient = parts[0].EntropyGradient is null ? null : [.. parts.SelectMany(part => part.EntropyGradient!)],
            Weights = [.. parts.SelectMany(part => part.Weights)],
            Metrics = metrics,
        };
    }
}
