using Sapo.Learner.Adapters;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>
/// The weights of one policy: a checkpoint's parameters, and an adapter beside them where low-rank adaptation is used. With an
/// adapter the checkpoint's parameters are frozen: they have no gradients, and the optimizer knows the adapter's alone.
/// </summary>
/// <param name="checkpoint">The checkpoint's parameters.</param>
/// <param name="adapter">The adapter, or null.</param>
/// <param name="compute">How the policy is computed; null: plainly.</param>
internal sealed class PolicyWeights(FlatParameters checkpoint, LowRankAdapter? adapter = null, ComputeOptions? compute = null)
{
    /// <summary>The checkpoint's parameters.</summary>
    public FlatParameters Checkpoint { get; } = checkpoint;

    /// <summary>The adapter, or null.</summary>
    public LowRankAdapter? Adapter { get; } = adapter;

    /// <summary>How the policy is computed.</summary>
    public ComputeOptions Compute { get; } = compute ?? ComputeOptions.Plain;

    /// <summary>What an optimizer updates.</summary>
    public FlatParameters Trained => Adapter?.Parameters ?? Checkpoint;

    /// <summary>The lowest layer with something that is trained. Below it the backward pass has nothing to do.</summary>
    public int FirstTrainedLayer { get; } = adapter?.Modules.Min(module => module.Layer) ?? 0;

    /// <summary>The parameter of a checkpoint name.</summary>
    public Parameter this[string name] => Checkpoint[name];

    /// <summary>The parameter, or null if this model has none of that name.</summary>
    public Parameter? Find(string name) => Checkpoint.Find(name);

    /// <summary>The product of one linear layer, or of several whose matrices follow each other in the checkpoint, with bias and adapter where there are any.</summary>
    /// <param name="modules">Their names, without <c>.weight</c>.</param>
    public Linear Linear(params string[] modules) => Linear(modules, Compute.ProductType);

    /// <summary>The product of one linear layer in the weights' own precision, whatever the others are computed in.</summary>
    public Linear PreciseLinear(string module) => Linear([module], null);

    /// <summary>The same weights, computed plainly.</summary>
    public PolicyWeights Plain() => new(Checkpoint, Adapter);

    private Linear Linear(string[] modules, ScalarType? productType)
    {
        var weight = Checkpoint.Packed(Array.ConvertAll(modules, module => module + ".weight"));
        var bias = Find(modules[0] + ".bias") is null ? null : Checkpoint.Packed(Array.ConvertAll(modules, module => module + ".bias"));
        return new Linear(weight, bias, productType, Adapter?.Path(modules.Select(module => (module, Checkpoint.ShapeOf(module + ".weight")[0]))));
    }
}
