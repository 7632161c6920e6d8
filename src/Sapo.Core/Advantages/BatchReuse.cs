namespace Sapo.Core.Advantages;

/// <summary>
/// ACPO's curriculum (arXiv 2510.00690): how many times a rollout batch is trained on grows during a run, from nearly on-policy to
/// off-policy. The paper's schedule was not found; a straight line over the run's steps is OURS.
/// </summary>
public static class BatchReuse
{
    /// <summary>Uses of the batch of step <paramref name="step"/>, rounded to the nearest whole number.</summary>
    /// <param name="step">From 0 to <paramref name="steps"/> - 1.</param>
    /// <param name="steps">Steps of the run.</param>
    /// <param name="minimum">Uses at the first step, at least 1.</param>
    /// <param name="maximum">Uses at the last step.</param>
    public static int CountAt(int step, int steps, int minimum, int maximum)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(step, steps);
        ArgumentOutOfRangeException.ThrowIfLessThan(minimum, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(maximum, minimum);
        return steps == 1 ? minimum : (int)Math.Round(minimum + (maximum - minimum) * (double)step / (steps - 1), MidpointRounding.AwayFromZero);
    }
}
