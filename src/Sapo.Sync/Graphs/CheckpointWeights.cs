using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Safetensors;
using Sapo.Sync.Onnx;

namespace Sapo.Sync.Graphs;

/// <summary>
/// The parameters of a model as values of a graph. Each is an initializer that points into a file of weights: in 32 bits under
/// its Hugging Face name into model.safetensors, where matrices are used as they lie, [out, in]; below that as
/// <see cref="ReducedLayout"/> says. Or it is an input of that name, which the engine feeds from the file.
/// </summary>
internal sealed class CheckpointWeights
{
    private const int IntegerProducts = 4; // MatMulNBits: hidden states are rounded to 8 bits, a scale per row and block, so rows stay independent

    private readonly GraphBuilder _graph;
    private readonly ModelConfig _config;
    private readonly ReducedLayout? _reduced;
    private readonly bool _direct;
    private readonly Dictionary<string, long[]> _shapes;
    private readonly Dictionary<string, (TensorHeader Header, string File, long Offset)> _places = new(StringComparer.Ordinal);
    private readonly HashSet<string> _declared = new(StringComparer.Ordinal);

    /// <summary>The parameters for one graph.</summary>
    /// <param name="graph">The graph that uses them.</param>
    /// <param name="config">The model.</param>
    /// <param name="fileOffsets">First byte of every parameter in model.safetensors, stored as F32.</param>
    /// <param name="reduced">Where the precision is below 32 bits: its layout.</param>
    /// <param name="direct">In 32 bits: whether parameters are inputs, and products the engine's own.</param>
    public CheckpointWeights(GraphBuilder graph, ModelConfig config, IReadOnlyDictionary<string, long> fileOffsets, ReducedLayout? reduced, bool direct)
    {
        (_graph, _config, _reduced, _direct) = (graph, config, reduced, direct);
        _shapes = config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape, StringComparer.Ordinal);
        foreach (var (name, shape) in _shapes)
            if (reduced is null || reduced.IsKept(name)) _places.Add(name, (new TensorHeader(name, WeightType.F32, shape), PublishedPolicy.WeightsFile, fileOffsets[name]));
        if (reduced is null) return;
        TensorHeader[] headers = [.. reduced.Tensors.Select(tensor => tensor.Header)];
        var offsets = SafetensorsWriter.FileOffsets(headers);
        foreach (var header in headers) _places.Add(header.Name, (header, PublishedPolicy.WeightsFileOf(reduced.Precision), offsets[header.Name]));
    }

    /// <summary>What hidden states and caches are: 16-bit floats where the weights are, else 32-bit floats.</summary>
    public ElementType Activations => _reduced?.Precision switch { Precision.Fp16 => ElementType.Float16, Precision.Bf16 => ElementType.BFloat16, _ => ElementType.Float };

    /// <summary>The attribute of a norm.</summary>
    public (string Name, AttributeValue Value) Epsilon => ("epsilon", (float)_config.RmsNormEpsilon);

    /// <summary>A tensor of the weights by its name.</summary>
    public Value this[string name]
    {
        get
        {
            if (!_declared.Add(name)) return new Value(name);
            var (header, file, offset) = _places[name];
            if (_direct) return _graph.Input(name, TypeOf(header.Type), [.. header.Shape.Select(size => (Dimension)(int)size)]);
            return _graph.External(name, TypeOf(header.Type), [.. header.Shape], file, offset, header.Bytes);
        }
    }

    /// <summary>x times a stored [out, in] matrix, transposed: [.., in] becomes [.., out].</summary>
    /// <param name="x">The rows.</param>
    /// <param name="matrix">The matrix's name.</param>
    /// <param name="wanted">Nothing, or int64: where every number of it is negative, the engine's own product leaves the arithmetic out.</param>
    public Value Project(Value x, string matrix, Value wanted = default)
    {
        if (_direct) return _graph.Op("sapo.Linear", wanted.Name is null ? [x, this[matrix]] : [x, this[matrix], wanted]);
        if (_reduced?.IsQuantised(matrix) != true) return _graph.Op("com.microsoft.FusedMatMul", [x, this[matrix]], ("transB", 1));
        var shape = _shapes[matrix];
        return _graph.Op(
            "com.microsoft.MatMulNBits", [x, this[_reduced.IntegersOf(matrix)], this[ReducedLayout.ScalesOf(matrix)]],
            ("N", (int)shape[0]), ("K", (int)shape[1]), ("bits", _reduced.Bits), ("block_size", ReducedLayout.BlockSize), ("accuracy_level", IntegerProducts));
    }

    /// <summary>A 32-bit constant or result in the type of the hidden states.</summary>
    public Value AsActivation(Value x) => Activations == ElementType.Float ? x : _graph.Cast(x, Activations);

    /// <summary>A linear layer: <c>name.weight</c> and, where the model has it, <c>name.bias</c>.</summary>
    public Value Linear(Value x, string name, bool bias) => Biased(Project(x, name + ".weight"), name, bias);

    /// <summary>Three linear layers of the same x; the engine's own operators compute them at once.</summary>
    public (Value First, Value Second, Value Third) Linear(Value x, (string First, string Second, string Third) names, bool bias)
    {
        if (!_direct) return (Linear(x, names.First, bias), Linear(x, names.Second, bias), Linear(x, names.Third, bias));
        string first = _graph.NewName("LinearThree"), second = _graph.NewName("LinearThree"), third = _graph.NewName("LinearThree");
        _graph.Node("sapo.LinearThree", [x, this[names.First + ".weight"], this[names.Second + ".weight"], this[names.Third + ".weight"]], [first, second, third]);
        return (Biased(new Value(first), names.First, bias), Biased(new Value(second), names.Second, bias), Biased(new Value(third), names.Third, bias));
    }

    /// <summary>silu(gate(x)) * up(x).</summary>
    public Value Gated(Value x, string gate, string up, bool bias)
    {
        if (_direct && !bias) return _graph.Op("sapo.LinearGated", [x, this[gate + ".weight"], this[up + ".weight"]]);
        var silu = _graph.Op("com.microsoft.QuickGelu", [Linear(x, gate, bias)], ("alpha", 1f)); // gate * sigmoid(gate)
        return _graph.Op("Mul", [silu, Linear(x, up, bias)]);
    }

    /// <summary>x / sqrt(mean(x²) + epsilon) * weight over the last dimension, the mean in 32 bits.</summary>
    public Value Norm(Value x, string name) =>
        _graph.Op("SimplifiedLayerNormalization", [x, this[name + ".weight"]], ("axis", -1), Epsilon, ("stash_type", 1));

    /// <summary>Adds a block's output to the residual stream and normalizes the sum.</summary>
    /// <returns>The normalized sum, and the sum.</returns>
    public (Value Normed, Value Residual) AddAndNorm(Value residual, Value added, string name)
    {
        string normed = _graph.NewName("AddNorm"), sum = _graph.NewName("Residual");
        if (_direct) _graph.Node("sapo.AddNorm", [residual, added, this[name + ".weight"]], [normed, sum], Epsilon);
        else _graph.Node("com.microsoft.SkipSimplifiedLayerNormalization", [residual, added, this[name + ".weight"]], [normed, "", "", sum], Epsilon);
        return (new Value(normed), new Value(sum));
    }

    private Value Biased(Value product, string name, bool bias) => bias ? _graph.Op("Add", [product, this[name + ".bias"]]) : product;

    private static ElementType TypeOf(WeightType type) => type switch
    {
        WeightType.U8 => ElementType.UInt8,
        WeightType.F16 => ElementType.Float16,
        WeightType.BF16 => ElementType.BFloat16,
        _ => ElementType.Float,
    };
}
