namespace Sapo.Sync.Tests.Onnx;

/// <summary>An ONNX model read back: what these tests look at.</summary>
internal sealed class OnnxFile
{
    public OnnxFile(byte[] content)
    {
        var model = new ProtoReader(content);
        OperatorSets = model.Messages(8).ToDictionary(set => set.Text(1), set => set.Number(2), StringComparer.Ordinal);
        Graph = new OnnxGraph(model.Messages(7).Single());
    }

    public Dictionary<string, long> OperatorSets { get; }

    public OnnxGraph Graph { get; }
}

internal sealed class OnnxGraph
{
    public OnnxGraph(ProtoReader graph)
    {
        Nodes = [.. graph.Messages(1).Select(node => new OnnxNode(node))];
        Initializers = [.. graph.Messages(5).Select(tensor => new OnnxInitializer(
            tensor.Text(8), tensor.Numbers(1), tensor.Number(2), tensor.Messages(13).ToDictionary(entry => entry.Text(1), entry => entry.Text(2), StringComparer.Ordinal)))];
        Inputs = [.. graph.Messages(11).Select(Shape)];
        Outputs = [.. graph.Messages(12).Select(Shape)];
    }

    public OnnxNode[] Nodes { get; }

    public OnnxInitializer[] Initializers { get; }

    /// <summary>Written as <c>name:type[dimensions]</c>.</summary>
    public string[] Inputs { get; }

    public string[] Outputs { get; }

    private static string Shape(ProtoReader value)
    {
        var tensor = value.Messages(2).Single().Messages(1).Single();
        var dimensions = tensor.Messages(2).SelectMany(shape => shape.Messages(1)).Select(dimension => dimension.Text(2) is { Length: > 0 } name ? name : dimension.Number(1).ToString());
        return $"{value.Text(1)}:{tensor.Number(1)}[{string.Join(',', dimensions)}]";
    }
}

internal sealed record OnnxInitializer(string Name, long[] Shape, long Type, Dictionary<string, string> External);

internal sealed class OnnxNode(ProtoReader node)
{
    public string[] Inputs { get; } = node.Texts(1);

    public string[] Outputs { get; } = node.Texts(2);

    public string Operator { get; } = node.Text(7).Length == 0 ? node.Text(4) : node.Text(7) + "." + node.Text(4);

    public ProtoReader Attribute(string name) => node.Messages(5).Single(attribute => attribute.Text(1) == name);

    public OnnxGraph[] Branches { get; } = [.. node.Messages(5).SelectMany(attribute => attribute.Messages(6)).Select(graph => new OnnxGraph(graph))];
}
