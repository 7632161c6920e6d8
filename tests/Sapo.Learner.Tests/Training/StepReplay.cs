using Sapo.Core.Options;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>The learner's parts put together around a model of golden/step, in either precision.</summary>
internal sealed class StepReplay : IDisposable
{
    private readonly LoadedModel _policy, _reference;

    public StepReplay(string modelFolder, AdamWOptions optimizer, LearnerOptions options, Func<int, IObjective> objective, ScalarType precision)
    {
        _policy = new LoadedModel(modelFolder, precision);
        _reference = new LoadedModel(modelFolder, precision);
        Update = new ParameterUpdate(_policy.Parameters, optimizer);
        var made = objective(_policy.Model.Config.VocabSize);
        Step = new PolicyStep(_policy.Model, made.Needs.HasFlag(ObjectiveNeeds.ReferencePolicy) ? _reference.Model : null, made, Update, options, CPU);
    }

    public ParameterUpdate Update { get; }

    public PolicyStep Step { get; }

    /// <summary>Compares every parameter with a reference file.</summary>
    public void CompareParameters(string file, double most, double worst) => Parameters.Compare(_policy, file, most, worst);

    /// <summary>
    /// The gradient of the first step before clipping, got back from the optimizer: its first moment is (1 - beta1) * clipping factor * gradient.
    /// </summary>
    public void CompareFirstGradient(string file, double norm, double tolerance)
    {
        var factor = (1 - Update.Optimizer.Options.Beta1) * GradientClip.Factor(norm, Update.Optimizer.Options.MaxGradientNorm);
        using var moments = new FlatParameters(_policy.Model.Config, _policy.Parameters.Values.dtype, CPU);
        moments.Values.copy_(Update.Optimizer.FirstMoment);
        Parameters.Compare(_policy, file, name => Array.ConvertAll(HostArrays.Double(moments[name].Value), moment => moment / factor), tolerance, tolerance);
    }

    public void Dispose()
    {
        Update.Dispose();
        _policy.Dispose();
        _reference.Dispose();
    }
}
