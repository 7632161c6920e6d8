// Builds one ONNX graph: values go in and come out by name, nodes are added in the order they run, constants are written
// once however often they are used. A nested builder makes the branch of an If; it sees all values of the graph around it.
using System.Globalization;
using System.Runtime.InteropServices;

namespace Sapo.Sync.Onnx;

/// <summary>Collects the inputs, initializers, nodes and outputs of a graph and writes them as onnx.proto's GraphProto.</summary>
internal sealed class GraphBuilder
{
    private const string ConstantPrefix = "sapo.";

    private readonly GraphBuilder _root;
    private readonly string _name;
    private readonly List<ProtoWriter> _inputs = [], _outputs = [], _initializers = [], _nodes = [];
    private readonly Dictionary<string, Value> _constants = new(StringComparer.Ordinal);
    private readonly SortedSet<string> _domains = new(StringComparer.Ordinal); // of operators that are not ONNX's own
    private int _lastName;

    /// <summary>An empty graph.</summary>
    public GraphBuilder(string name) => (_root, _name) = (this, name);

    private GraphBuilder(GraphBuilder outer, string name) => (_root, _name) = (outer._root, name);

    /// <summary>Begins the names of the nodes that follow: the part of the model they belong to.</summary>
    public string Scope { get => _root.CurrentScope; set => _root.CurrentScope = value; }

    private string CurrentScope { get; set; } = "";

    /// <summary>Declares an input.</summary>
    public Value Input(string name, ElementType type, params Dimension[] shape)
    {
        _inputs.Add(ValueInfo(name, type, shape));
        return new Value(name);
    }

    /// <summary>Declares an output. The value must be produced under this name.</summary>
    public void Output(string name, ElementType type, params Dimension[] shape) => _outputs.Add(ValueInfo(name, type, shape));

    /// <summary>Declares an output and produces it from a value of another name.</summary>
    public void Output(string name, Value value, ElementType type, params Dimension[] shape)
    {
        Node("Identity", [value], [name]);
        Output(name, type, shape);
    }

    /// <summary>Declares an initializer whose data lie in another file of the model's folder.</summary>
    public Value External(string name, ElementType type, ReadOnlySpan<long> shape, string file, long offset, long bytes)
    {
        const int ExternalData = 13, DataLocation = 14, InAnotherFile = 1;
        var tensor = Tensor(name, type, shape);
        foreach (var (key, value) in new[] { ("location", file), ("offset", Invariant(offset)), ("length", Invariant(bytes)) })
            tensor.Message(ExternalData, new ProtoWriter().Text(1, key).Text(2, value));
        _root._initializers.Add(tensor.Integer(DataLocation, InAnotherFile));
        return new Value(name);
    }

    /// <summary>A constant; the same content is written once.</summary>
    /// <typeparam name="T">float, double, int, long or bool.</typeparam>
    public Value Constant<T>(ReadOnlySpan<T> values, params ReadOnlySpan<long> shape) where T : unmanaged
    {
        var key = $"{typeof(T).Name}[{string.Join(',', shape.ToArray())}]({string.Join(',', values.ToArray())})";
        if (_root._constants.TryGetValue(key, out var known)) return known;
        var value = NamedConstant($"{ConstantPrefix}constant.{_root._constants.Count}", values, shape);
        _root._constants.Add(key, value);
        return value;
    }

    /// <summary>A constant under a name of its own, for tables.</summary>
    public Value NamedConstant<T>(string name, ReadOnlySpan<T> values, params ReadOnlySpan<long> shape) where T : unmanaged
    {
        const int RawData = 9;
        _root._initializers.Add(Tensor(name, TypeOf<T>(), shape).Bytes(RawData, MemoryMarshal.AsBytes(values)));
        return new Value(name);
    }

    /// <summary>A constant without dimensions.</summary>
    public Value Scalar<T>(T value) where T : unmanaged => Constant([value]);

    /// <summary>A constant list of integers: axes, shapes, starts.</summary>
    public Value Integers(params ReadOnlySpan<long> values) => Constant(values, values.Length);

    /// <summary>Adds a node with one output.</summary>
    /// <param name="op">The operator, with its domain in front unless that is ONNX's own: <c>com.microsoft.FusedMatMul</c>.</param>
    /// <param name="inputs">Its inputs in order.</param>
    /// <param name="attributes">Its attributes.</param>
    public Value Op(string op, ReadOnlySpan<Value> inputs, params ReadOnlySpan<(string Name, AttributeValue Value)> attributes)
    {
        var output = NewName(op);
        Node(op, inputs, [output], attributes);
        return new Value(output);
    }

    /// <summary>Converts the elements of a value.</summary>
    public Value Cast(Value x, ElementType type) => Op("Cast", [x], ("to", (int)type));

    /// <summary>int64: how many truths lie along an axis, which is dropped.</summary>
    public Value CountTrue(Value truths, long axis) => Op("ReduceSum", [Cast(truths, ElementType.Int64), Integers(axis)], ("keepdims", 0));

    /// <summary>One number per row as a column: [B] becomes [B, 1].</summary>
    public Value Column(Value perRow) => Op("Unsqueeze", [perRow, Integers(1)]);

    /// <summary>int64 [1, K]: 0, 1, 2, ... along the second dimension of a matrix.</summary>
    public Value Ranks(Value matrix)
    {
        var width = Op("Squeeze", [Op("Shape", [matrix], ("start", 1)), Integers(0)]);
        return Op("Unsqueeze", [Op("Range", [Scalar(0L), width, Scalar(1L)]), Integers(0)]);
    }

    /// <summary>A matrix [B, 0].</summary>
    /// <param name="perRow">Anything [B].</param>
    public Value EmptyRows<T>(Value perRow) where T : unmanaged =>
        Op("Expand", [Constant(ReadOnlySpan<T>.Empty, 1, 0), Op("Concat", [Op("Shape", [perRow]), Integers(1)], ("axis", 0))]);

    /// <summary>Adds a node with named outputs; an empty name leaves an optional output out.</summary>
    public void Node(string op, ReadOnlySpan<Value> inputs, ReadOnlySpan<string> outputs, params ReadOnlySpan<(string Name, AttributeValue Value)> attributes)
    {
        const int Input = 1, Output = 2, Name = 3, OpType = 4, Attribute = 5, Domain = 7;
        var node = new ProtoWriter();
        foreach (var input in inputs) node.Text(Input, input.Name ?? "");
        foreach (var output in outputs) node.Text(Output, output);
        var dot = op.LastIndexOf('.');
        node.Text(Name, outputs[0] + "/node").Text(OpType, op[(dot + 1)..]);
        foreach (var (name, value) in attributes) node.Message(Attribute, value.Write(name));
        if (dot > 0)
        {
            node.Text(Domain, op[..dot]);
            _root._domains.Add(op[..dot]);
        }
        _nodes.Add(node);
    }

    /// <summary>Adds an If: only the branch that is taken is computed. A branch may use every value of the graphs around it.</summary>
    /// <param name="condition">Bool scalar.</param>
    /// <param name="types">The types of the values that either branch gives.</param>
    /// <param name="then">Adds its nodes to the graph it is given and returns its values.</param>
    /// <param name="otherwise">Likewise.</param>
    public Value[] If(Value condition, ElementType[] types, Func<GraphBuilder, Value[]> then, Func<GraphBuilder, Value[]> otherwise)
    {
        var outputs = types.Select(_ => NewName("If")).ToArray();
        Node("If", [condition], outputs, ("then_branch", Branch(types, then)), ("else_branch", Branch(types, otherwise)));
        return [.. outputs.Select(name => new Value(name))];
    }

    /// <summary>A name that no other value has.</summary>
    public string NewName(string op) => $"{Scope}/{op[(op.LastIndexOf('.') + 1)..]}_{Invariant(++_root._lastName)}";

    /// <summary>The graph as GraphProto.</summary>
    public ProtoWriter Write()
    {
        const int NodeField = 1, NameField = 2, InitializerField = 5, InputField = 11, OutputField = 12;
        var graph = new ProtoWriter();
        foreach (var node in _nodes) graph.Message(NodeField, node);
        graph.Text(NameField, _name);
        foreach (var tensor in _initializers) graph.Message(InitializerField, tensor);
        foreach (var input in _inputs) graph.Message(InputField, input);
        foreach (var output in _outputs) graph.Message(OutputField, output);
        return graph;
    }

    /// <summary>The whole model file: this graph with the operator sets it needs.</summary>
    public byte[] WriteModel()
    {
        const int IrVersionField = 1, ProducerField = 2, GraphField = 7, OperatorSetField = 8;
        const int IrVersion = 8, OnnxOperators = 17, OtherOperators = 1; // the releases in which opset 17 appeared
        var model = new ProtoWriter()
            .Integer(IrVersionField, IrVersion)
            .Text(ProducerField, "sapo")
            .Message(GraphField, Write())
            .Message(OperatorSetField, OperatorSet("", OnnxOperators));
        foreach (var domain in _domains) model.Message(OperatorSetField, OperatorSet(domain, OtherOperators));
        return model.Written.ToArray();
    }

    private GraphBuilder Branch(ElementType[] types, Func<GraphBuilder, Value[]> write)
    {
        var branch = new GraphBuilder(this, NewName("branch"));
        foreach (var (value, type) in write(branch).Zip(types))
        {
            var name = NewName("result");
            branch.Node("Identity", [value], [name]); // a branch may not give a value of the graph around it
            branch._outputs.Add(ValueInfo(name, type, null));
        }
        return branch;
    }

    private static ProtoWriter OperatorSet(string domain, int version) => new ProtoWriter().Text(1, domain).Integer(2, version);

    private static ProtoWriter Tensor(string name, ElementType type, ReadOnlySpan<long> shape)
    {
        const int Dimensions = 1, DataType = 2, Name = 8;
        var tensor = new ProtoWriter();
        foreach (var size in shape) tensor.Integer(Dimensions, size);
        return tensor.Integer(DataType, (long)type).Text(Name, name);
    }

    // Without dimensions the shape is left to inference; with an empty list the value is a scalar.
    private static ProtoWriter ValueInfo(string name, ElementType type, Dimension[]? dimensions)
    {
        const int Name = 1, Type = 2, TensorType = 1, ElementTypeField = 1, ShapeField = 2, DimensionField = 1, Size = 1, SizeName = 2;
        var tensor = new ProtoWriter().Integer(ElementTypeField, (long)type);
        if (dimensions is not null)
        {
            var shape = new ProtoWriter();
            foreach (var dimension in dimensions)
                shape.Message(DimensionField, dimension.Name is null ? new ProtoWriter().Integer(Size, dimension.Size) : new ProtoWriter().Text(SizeName, dimension.Name));
            tensor.Message(ShapeField, shape);
        }
        return new ProtoWriter().Text(Name, name).Message(Type, new ProtoWriter().Message(TensorType, tensor));
    }

    private static ElementType TypeOf<T>() => Type.GetTypeCode(typeof(T)) switch
    {
        TypeCode.Single => ElementType.Float,
        TypeCode.Double => ElementType.Double,
        TypeCode.Int32 => ElementType.Int32,
        TypeCode.Int64 => ElementType.Int64,
        TypeCode.Boolean => ElementType.Bool,
        _ => throw new NotSupportedException($"A constant of {typeof(T).Name} is not written by any graph here."),
    };

    private static string Invariant(long value) => value.ToString(CultureInfo.InvariantCulture);
}
