using Sapo.Core;
using Sapo.Core.Options;

namespace Sapo.Learner.Optimization;

/// <summary>Shares of the peak learning rate: a warm-up times a decay, each a function of a position counted in steps.</summary>
public static class LearningRateSchedule
{
    /// <summary>position / warmup, at most 1; 1 without a warm-up.</summary>
    public static double Warmup(double position, int warmupSteps) => position < warmupSteps ? position / warmupSteps : 1;

    /// <summary>
    /// 1 up to the end of the warm-up, then falling to <paramref name="finalShare"/> at <paramref name="totalSteps"/>, where it stays:
    /// along a line (linear) or half a cosine wave (cosine); always 1 if constant.
    /// </summary>
    public static double Decay(string schedule, double position, int warmupSteps, int totalSteps, double finalShare)
    {
        if (schedule == "constant" || position <= warmupSteps) return 1;
        var progress = Math.Min(1, (position - warmupSteps) / Math.Max(1, totalSteps - warmupSteps));
        var remaining = schedule == "linear" ? 1 - progress : 0.5 * (1 + Math.Cos(Math.PI * progress));
        return finalShare + (1 - finalShare) * remaining;
    }

    /// <summary>
    /// The learning rate of all optimizer steps of a rollout batch. The warm-up counts batches from 1, so that no step is wasted at
    /// rate 0; the decay counts completed batches, so that the first batch after the warm-up still has the peak.
    /// </summary>
    /// <param name="options">Peak, schedule, warm-up.</param>
    /// <param name="batch">From 1.</param>
    /// <param name="totalBatches">Batches of the whole run; needed by linear and cosine.</param>
    /// <exception cref="UserErrorException">The schedule needs a number of batches and there is none.</exception>
    public static double ForBatch(LearnerOptions options, long batch, int? totalBatches)
    {
        if (options.Schedule != "constant" && totalBatches is null)
            throw new UserErrorException($"learner.schedule is {options.Schedule}, but the number of steps is unknown", "a run with a number of steps", "Set the number of steps, or use the constant schedule");
        return options.LearningRate * Warmup(batch, options.WarmupSteps)
            * Decay(options.Schedule, batch - 1, options.WarmupSteps, totalBatches ?? int.MaxValue, options.FinalLearningRateShare);
    }
}
