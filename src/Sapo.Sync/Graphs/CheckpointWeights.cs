using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>
/// The parameters of a model as values of a graph. Each is an initializer under its Hugging Face name that points into
/// model.safetensors; matrices are used as they lie there, [out, in].
/// </summary>
/// <param name="graph">The graph that uses them.</param>
/// <param name="config">The model.</param>
/// <param name="fileOffsets">First byte of every parameter in model.safetensors, stored as F32.</param>
internal sealed class CheckpointWeights(GraphBuilder graph, ModelConfig config, IReadOnlyDictionary<string, long> fileOffsets)
{
    private readonly Dictionary<string, long[]> _shapes = config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape, StringComparer.Ordinal);
    private readonly HashSet<string> _declared = new(StringComparer.Ordinal);

    /// <summary>A parameter by its name.</summary>
    public Value this[string name]
    {
        get
        {
            if (!_declared.Add(name)) return new Value(name);
            var shape = _shapes[name];
            var bytes = shape.Aggregate((long)sizeof(float), (product, size) => product * size);
            return graph.External(name, ElementType.Float, shape, PublishedPolicy.WeightsFile, fileOffsets[name], bytes);
        }
    }

    /// <summary>x times a stored [out, in] matrix, transposed: [.., in] becomes [.., out].</summary>
    public Value Project(Value x, string matrix) => graph.Op("com.microsoft.FusedMatMul", [x, this[matrix]], ("transB", 1));

    /// <summary>A linear layer: <c>name.weight</c> and, where the model has it, <c>name.bias</c>.</summary>
    public Value Linear(Value x, string name, bool bias)
    {
        var product = Project(x, name + ".weight");
        return bias ? graph.Op("Add", [product, this[name + ".bias"]]) : product;
    }

    /// <summary>x / sqrt(mean(x²) + epsilon) * weight over the last dimension, the mean in 32 bits.</summary>
    public Value Norm(Value x, string name) =>
        graph.Op("SimplifiedLayerNormalization", [x, this[name + ".weight"]], ("axis", -1), ("epsilon", (float)config.RmsNormEpsilon), ("stash_type", 1));

    /// <summary>Adds a block's output to the residual stream and normalizes the sum.</summary>
    /// <returns>The normalized sum, and the sum.</returns>
    public (Value Normed, Value Residual) AddAndNorm(Value residual, Value added, string name)
    {
        string normed = graph.NewName("SkipSimplifiedLayerNormalization"), sum = graph.NewName("Residual");
        graph.Node("com.microsoft.SkipSimplifiedLayerNormalization", [residual, added, this[name + ".weight"]], [normed, "", "", sum], ("epsilon", (float)config.RmsNormEpsilon));
        return (new Value(normed), new Value(sum));
    }
}
