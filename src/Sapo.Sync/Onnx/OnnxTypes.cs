// The small nouns a graph is written with: element types, dimensions, values and attributes.
namespace Sapo.Sync.Onnx;

/// <summary>Element types, numbered as in onnx.proto (TensorProto.DataType).</summary>
internal enum ElementType
{
    /// <summary>32-bit float.</summary>
    Float = 1,

    /// <summary>8-bit unsigned integer.</summary>
    UInt8 = 2,

    /// <summary>32-bit signed integer.</summary>
    Int32 = 6,

    /// <summary>64-bit signed integer.</summary>
    Int64 = 7,

    /// <summary>One byte, 0 or 1.</summary>
    Bool = 9,

    /// <summary>IEEE 16-bit float.</summary>
    Float16 = 10,

    /// <summary>64-bit float.</summary>
    Double = 11,

    /// <summary>The upper half of a 32-bit float.</summary>
    BFloat16 = 16,
}

/// <summary>One dimension of an input or output: a number, or a name where it may differ between calls.</summary>
/// <param name="Size">The number; used when <paramref name="Name"/> is null.</param>
/// <param name="Name">The name, or null.</param>
internal readonly record struct Dimension(long Size, string? Name)
{
    /// <summary>A fixed dimension.</summary>
    public static implicit operator Dimension(int size) => new(size, null);

    /// <summary>A dimension that may differ between calls.</summary>
    public static implicit operator Dimension(string name) => new(0, name);
}

/// <summary>A tensor inside a graph, by its name. The default value stands for an optional input that is left out.</summary>
/// <param name="Name">Unique within the model.</param>
internal readonly record struct Value(string? Name)
{
    /// <summary>An optional input that is left out.</summary>
    public static Value None => default;
}

/// <summary>The value of a node's attribute.</summary>
/// <param name="Content">A long, a float, a string, an array of longs, or a <see cref="GraphBuilder"/> for a subgraph.</param>
internal readonly record struct AttributeValue(object Content)
{
    /// <summary>An integer.</summary>
    public static implicit operator AttributeValue(int value) => new((long)value);

    /// <summary>A 32-bit float.</summary>
    public static implicit operator AttributeValue(float value) => new(value);

    /// <summary>A text.</summary>
    public static implicit operator AttributeValue(string value) => new(value);

    /// <summary>A list of integers.</summary>
    public static implicit operator AttributeValue(long[] values) => new(values);

    /// <summary>A subgraph.</summary>
    public static implicit operator AttributeValue(GraphBuilder graph) => new(graph);

    /// <summary>The attribute as onnx.proto's AttributeProto.</summary>
    public ProtoWriter Write(string name)
    {
        const int Name = 1, Float = 2, Int = 3, Text = 4, Graph = 6, Ints = 8, Type = 20;
        var proto = new ProtoWriter().Text(Name, name);
        switch (Content)
        {
            case long value:
                return proto.Integer(Int, value).Integer(Type, 2);
            case float value:
                return proto.Single(Float, value).Integer(Type, 1);
            case string value:
                return proto.Text(Text, value).Integer(Type, 3);
            case long[] values:
                foreach (var value in values) proto.Integer(Ints, value);
                return proto.Integer(Type, 7);
            case GraphBuilder graph:
                return proto.Message(Graph, graph.Write()).Integer(Type, 5);
            default:
                throw new InvalidOperationException($"Attribute {name} has no known type.");
        }
    }
}
