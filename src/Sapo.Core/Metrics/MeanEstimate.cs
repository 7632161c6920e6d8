namespace Sapo.Core.Metrics;

/// <summary>
/// The mean over problems, with its uncertainty. For avg@k each value is a problem's mean over its samples: problems are
/// independent, samples of one problem are not.
/// </summary>
/// <param name="Mean">The mean.</param>
/// <param name="StandardError">Standard deviation (n - 1) over the root of the count; NaN for a single value.</param>
/// <param name="Count">How many values there are.</param>
public readonly record struct MeanEstimate(double Mean, double StandardError, int Count)
{
    /// <summary>The estimate from values.</summary>
    /// <param name="values">One finite value per problem, at least one.</param>
    /// <exception cref="ArgumentException">There is no value, or one is not finite.</exception>
    public static MeanEstimate Of(IReadOnlyList<double> values)
    {
        if (values.Count == 0) throw new ArgumentException("A mean needs at least one value.", nameof(values));
        if (!values.All(double.IsFinite)) throw new ArgumentException("A value is not finite.", nameof(values));
        var mean = values.Sum() / values.Count;
        var squares = values.Sum(value => (value - mean) * (value - mean));
        return new MeanEstimate(mean, values.Count == 1 ? double.NaN : Math.Sqrt(squares / (values.Count - 1) / values.Count), values.Count);
    }

    /// <summary>Student's interval of the mean. Over few problems it may leave the range of the values; NaN for a single value.</summary>
    /// <param name="confidence">Probability that such intervals hold the true mean, inside (0, 1).</param>
    public ConfidenceInterval StudentInterval(double confidence = 0.95)
    {
        ConfidenceInterval.CheckConfidence(confidence);
        if (Count < 2) return new ConfidenceInterval(double.NaN, double.NaN);
        return Around(Distributions.StudentQuantile(0.5 + confidence / 2, Count - 1));
    }

    /// <summary>The normal interval of the mean: Student's for many problems.</summary>
    /// <param name="confidence">Probability that such intervals hold the true mean, inside (0, 1).</param>
    public ConfidenceInterval NormalInterval(double confidence = 0.95)
    {
        ConfidenceInterval.CheckConfidence(confidence);
        return Around(Distributions.NormalQuantile(0.5 + confidence / 2));
    }

    private ConfidenceInterval Around(double standardErrors) => new(Mean - standardErrors * StandardError, Mean + standardErrors * StandardError);
}
