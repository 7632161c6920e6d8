// The part of the protobuf wire format that ONNX files need: varints, 32-bit floats and length-delimited fields.
using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Sapo.Sync.Onnx;

/// <summary>Writes one protobuf message, field by field. Every method returns the writer itself.</summary>
internal sealed class ProtoWriter
{
    private const int Varint = 0, LengthDelimited = 2, ThirtyTwoBits = 5; // wire types

    private readonly ArrayBufferWriter<byte> _buffer = new();

    /// <summary>The message so far.</summary>
    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    /// <summary>An int32, int64, bool or enum field.</summary>
    public ProtoWriter Integer(int field, long value)
    {
        Tag(field, Varint);
        Raw((ulong)value);
        return this;
    }

    /// <summary>A float field.</summary>
    public ProtoWriter Single(int field, float value)
    {
        Tag(field, ThirtyTwoBits);
        BinaryPrimitives.WriteSingleLittleEndian(_buffer.GetSpan(sizeof(float)), value);
        _buffer.Advance(sizeof(float));
        return this;
    }

    /// <summary>A bytes field, or an embedded message.</summary>
    public ProtoWriter Bytes(int field, ReadOnlySpan<byte> value)
    {
        Tag(field, LengthDelimited);
        Raw((ulong)value.Length);
        _buffer.Write(value);
        return this;
    }

    /// <summary>A string field.</summary>
    public ProtoWriter Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    /// <summary>An embedded message.</summary>
    public ProtoWriter Message(int field, ProtoWriter message) => Bytes(field, message.Written);

    private void Tag(int field, int wireType) => Raw(((ulong)field << 3) | (uint)wireType);

    private void Raw(ulong value)
    {
        const int MaxVarintBytes = 10;
        var span = _buffer.GetSpan(MaxVarintBytes);
        var length = 0;
        for (; value >= 0x80; value >>= 7) span[length++] = (byte)(value | 0x80);
        span[length++] = (byte)value;
        _buffer.Advance(length);
    }
}
