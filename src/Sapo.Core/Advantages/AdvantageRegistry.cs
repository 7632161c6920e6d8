using System.Diagnostics;
using Sapo.Core.Options;

namespace Sapo.Core.Advantages;

/// <summary>Makes the advantage estimator that a run file names.</summary>
public static class AdvantageRegistry
{
    /// <summary>The estimator, with defaults filled in and every knob checked.</summary>
    /// <exception cref="UserErrorException">Unknown name, foreign knob or value out of range.</exception>
    public static IAdvantageEstimator Create(AdvantageOptions options)
    {
        AdvantageOptions resolved = options.Resolved();
        return resolved.Estimator switch
        {
            "grpo" or "espo" => new GroupAdvantage(resolved.Estimator, resolved.Scale == "batch" ? AdvantageScale.Batch : AdvantageScale.Group, resolved.Epsilon!.Value),
            "dr-grpo" => new GroupAdvantage(resolved.Estimator, AdvantageScale.None, epsilon: 0),
            "rloo" => new LeaveOneOutAdvantage(),
            "reinforce++" => new ReinforcePlusPlusAdvantage(resolved.KlCoefficient!.Value, resolved.Gamma!.Value, resolved.WhiteningEpsilon!.Value),
            "reinforce++-baseline" => new ReinforceBaselineAdvantage(resolved.WhiteningEpsilon!.Value),
            "gdpo" => new DecoupledAdvantage(resolved.Epsilon!.Value),
            _ => throw new UnreachableException($"estimator {resolved.Estimator} is known without an implementation"),
        };
    }
}
