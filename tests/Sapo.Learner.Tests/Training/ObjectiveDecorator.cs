using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Training;

/// <summary>An objective that changes one thing of another.</summary>
internal abstract class ObjectiveDecorator(IObjective inner) : IObjective
{
    public string Name => inner.Name;

    public ObjectiveScope Scope => inner.Scope;

    public AnchorPolicy? RequiredAnchor => inner.RequiredAnchor;

    public virtual ObjectiveNeeds Needs => inner.Needs;

    public DistributionRequest? Distributions => inner.Distributions;

    public IReadOnlyDictionary<string, double> State => inner.State;

    public ObjectiveBatch Prepare(ObjectiveBatch miniBatch) => inner.Prepare(miniBatch);

    public virtual ObjectiveResult Evaluate(ObjectiveBatch batch) => inner.Evaluate(batch);

    public void Advance(ObjectiveResult miniBatch) => inner.Advance(miniBatch);

    public void Restore(IReadOnlyDictionary<string, double> state) => inner.Restore(state);
}
