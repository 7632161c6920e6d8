namespace Sapo.Hybrid.Studies;

/// <summary>How steadily one run went: what the report's stability columns mean, in one place.</summary>
/// <param name="Collapsed">The run ended before its last step, or its reward (mean of the last five steps) is below half of the best five steps before.</param>
/// <param name="LargestFall">Most that the mean reward of five steps lay below the best five steps before; 0 for a run that never fell.</param>
/// <param name="Spikes">Steps with an optimizer step whose gradient norm is above five times the run's median step.</param>
internal sealed record Stability(bool Collapsed, double LargestFall, int Spikes)
{
    /// <summary>Steps that a mean is taken over.</summary>
    public const int Window = 5;

    /// <summary>A gradient norm is a spike above this multiple of the run's median.</summary>
    public const double SpikeFactor = 5;

    /// <summary>A run has collapsed below this share of its best.</summary>
    public const double CollapsedShare = 0.5;

    /// <summary>Of one run.</summary>
    public static Stability Of(CellResult result)
    {
        var means = Means(result.Curves.Reward);
        double best = 0, fall = 0;
        foreach (var mean in means)
        {
            best = Math.Max(best, mean);
            fall = Math.Max(fall, best - mean);
        }
        var collapsed = result.Failure is not null || (means.Count > 0 && means[^1] < CollapsedShare * best);
        return new Stability(collapsed, fall, CountSpikes(result.Curves));
    }

    /// <summary>Means over every five steps in a row; steps without a reward are passed over.</summary>
    private static List<double> Means(double?[] rewards)
    {
        double[] known = [.. rewards.OfType<double>()];
        return [.. Enumerable.Range(0, Math.Max(0, known.Length - Window + 1)).Select(first => known[first..(first + Window)].Average())];
    }

    private static int CountSpikes(CellCurves curves)
    {
        double[] norms = [.. curves.GradientNorm.OfType<double>().Where(norm => norm > 0).Order()];
        if (norms.Length == 0) return 0;
        var median = norms[norms.Length / 2];
        return curves.LargestGradientNorm.Count(norm => norm > SpikeFactor * median);
    }
}
