using System.Diagnostics;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Objectives.Terms;

namespace Sapo.Learner.Objectives;

/// <summary>Makes the objective that a run file names. <see cref="ObjectiveCatalog"/> lists them with paper, defaults and status.</summary>
public static class ObjectiveRegistry
{
    /// <summary>The objective, with its defaults filled in and every knob checked.</summary>
    /// <param name="options">Section <c>objective</c> of the run file.</param>
    /// <param name="vocabularySize">|V| of the model; only espo looks at it.</param>
    /// <exception cref="UserErrorException">Unknown name, foreign knob or value out of range.</exception>
    public static IObjective Create(ObjectiveOptions options, int vocabularySize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 2);
        ObjectiveOptions resolved = options.Resolved();
        return new PolicyObjective(Term(resolved, vocabularySize), resolved);
    }

    private static PolicyTerm Term(ObjectiveOptions options, int vocabularySize) => options.Name switch
    {
        "sapo" => new SapoTerm(Gate.All.Single(gate => gate.Name == options.Gate), options.TauPositive!.Value, options.TauNegative!.Value),
        "grpo" or "dapo" or "dr-grpo" => new GrpoTerm(options.Name, Clip(options)),
        "gspo" => new GspoTerm(Clip(options)),
        "gspo-token" => new GspoTokenTerm(Clip(options)),
        "gmpo" => new GmpoTerm(options.ClipLow!.Value, options.ClipHigh!.Value),
        "sspo-sigmoid" => new SspoSigmoidTerm(options.TauPositive!.Value, options.TauNegative!.Value),
        "sspo-arctan" => new SspoArctanTerm(options.Steepness!.Value),
        "vespo" => new VespoTerm(options.KPositive!.Value, options.LambdaPositive!.Value, options.KNegative!.Value, options.LambdaNegative!.Value),
        "espo" => new EspoTerm(options.Alpha!.Value, vocabularySize, options.HighEntropyFraction!.Value, options.Reading == "eq9-literal"),
        "minpro-soft" => new MinproSoftTerm(options.ClipLow!.Value, options.ClipHigh!.Value),
        "minpro-hard" => new MinproHardTerm(Clip(options)),
        "acpo" => new AcpoTerm(options.ClipLow!.Value, options.ClipHighBase!.Value, options.ClipHighGain!.Value, options.ClipHighMinimum!.Value, options.ClipHighMaximum!.Value),
        "bapo" => Bapo(options),
        "guard-text" => new GuardTextTerm(options.KappaRule!, options.Kappa, options.Epsilon!.Value, Clip(options), options.LogRatioClamp!.Value),
        "capo" => new CapoTerm(Clip(options), new(DistributionFacts.Curvature, options.TopK!.Value, options.CurvatureOptimizer == "adam"), options.PolicyShiftLimit!.Value, options.ObjectiveShiftLimit!.Value, options.Symmetric!.Value,
            meanOfKept: options.Aggregation == ObjectiveCatalog.SequenceMean),
        "cispo" => new CispoTerm(options.Name, Math.Max(0, 1 - (options.ClipLow ?? 1)), 1 + options.ClipHigh!.Value),
        "cispo-absolute" => new CispoTerm(options.Name, options.RatioMin ?? 0, options.RatioMax!.Value),
        "aspo" => Aspo(options),
        "dppo" => new DppoTerm(new TokenDivergence(options.Divergence!, options.TopK ?? 0, options.IncludeSampledToken ?? false), options.DeltaLow!.Value, options.DeltaHigh!.Value, options.RatioCap!.Value),
        "r2vpo" => new R2vpoTerm(options.Lambda!.Value, options.Delta!.Value, options.DualStep!.Value),
        _ => throw new UnreachableException($"objective {options.Name} is in the catalog without a term"),
    };

    private static RatioClip Clip(ObjectiveOptions options) =>
        new(1 - options.ClipLow!.Value, 1 + options.ClipHigh!.Value, options.DualClip, options.Delta);

    private static AspoTerm Aspo(ObjectiveOptions options) => new(options.ClipLow!.Value, options.ClipHigh!.Value, options.DualClip!.Value,
        options.EntropyClipQuantile is { } quantile ? new EntropyClip(quantile, options.EntropyClipLow!.Value, options.EntropyClipHigh!.Value) : null);

    private static BapoTerm Bapo(ObjectiveOptions options) => new(
        new BoundRange(options.LowStart!.Value, options.LowStep!.Value, options.LowMaximum!.Value),
        new BoundRange(options.HighStart!.Value, options.HighStep!.Value, options.HighMaximum!.Value),
        new BapoSearch(options.Order == "high-first", options.Statistic == "pos/total", options.Contribution == "gradient", options.SamplerWeighted!.Value, options.Target!.Value),
        options.DualClip);
}
