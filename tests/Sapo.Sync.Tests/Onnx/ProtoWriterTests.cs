using Sapo.Sync.Onnx;

namespace Sapo.Sync.Tests.Onnx;

public sealed class ProtoWriterTests
{
    // Encodings from the protobuf documentation: field 1 varint 150 is 08 96 01; field 2 "testing" is 12 07 74..67.
    [Fact]
    public void Write_DocumentedExamples_GivesTheirBytes()
    {
        Assert.Equal([0x08, 0x96, 0x01], new ProtoWriter().Integer(1, 150).Written.ToArray());
        Assert.Equal([0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6E, 0x67], new ProtoWriter().Text(2, "testing").Written.ToArray());
        Assert.Equal([0x1A, 0x03, 0x08, 0x96, 0x01], new ProtoWriter().Message(3, new ProtoWriter().Integer(1, 150)).Written.ToArray());
        Assert.Equal([0x15, 0x00, 0x00, 0x80, 0x3F], new ProtoWriter().Single(2, 1f).Written.ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(long.MaxValue)]
    [InlineData(long.MinValue)]
    public void Integer_AnyValue_ReadsBack(long value) => Assert.Equal(value, new ProtoReader(new ProtoWriter().Integer(20, value).Written).Number(20));

    [Fact]
    public void Constant_SameContent_IsWrittenOnce()
    {
        var graph = new GraphBuilder("test");
        Assert.Equal(graph.Integers(1, 2), graph.Integers(1, 2));
        Assert.NotEqual(graph.Integers(1, 2), graph.Integers(2, 1));
        Assert.NotEqual(graph.Constant([1L, 2L], 2), graph.Constant([1L, 2L], 1, 2));
        Assert.NotEqual(graph.Scalar(1L), graph.Scalar(1f));
        Assert.NotEqual(graph.Scalar(1f), graph.Scalar(1f + 1e-7f));
    }
}
