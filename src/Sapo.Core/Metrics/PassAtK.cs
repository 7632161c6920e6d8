namespace Sapo.Core.Metrics;

/// <summary>
/// pass@k: the probability that at least one of k samples is right, without bias from n >= k samples
/// (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1).
/// </summary>
public static class PassAtK
{
    /// <summary>1 - C(n - c, k) / C(n, k), as a product: exact also where the binomials overflow.</summary>
    /// <param name="samples">n, at least 1.</param>
    /// <param name="correct">c, 0 to n.</param>
    /// <param name="k">1 to n. A larger k cannot be estimated from n samples.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range.</exception>
    public static double Estimate(int samples, int correct, int k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(correct);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(correct, samples);
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(k, samples);
        if (samples - correct < k) return 1;
        // C(n-c, k) / C(n, k) = product over the c right ones of (1 - k/i), i = n-c+1 .. n
        var allWrong = 1.0;
        for (var i = samples - correct + 1; i <= samples; i++) allWrong *= 1 - (double)k / i;
        return 1 - allWrong;
    }

    /// <summary>The mean over problems, each with its own number of samples.</summary>
    /// <param name="problems">Per problem the number of samples and of right ones; at least one problem.</param>
    /// <param name="k">At most the smallest number of samples.</param>
    public static double Mean(IReadOnlyCollection<(int Samples, int Correct)> problems, int k) =>
        problems.Count > 0 ? problems.Average(problem => Estimate(problem.Samples, problem.Correct, k)) : throw new ArgumentException("A mean needs at least one problem.", nameof(problems));
}
