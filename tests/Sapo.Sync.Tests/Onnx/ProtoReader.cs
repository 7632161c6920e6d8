using System.Buffers.Binary;
using System.Text;

namespace Sapo.Sync.Tests.Onnx;

/// <summary>Reads any protobuf message into its fields, without knowing what they mean.</summary>
internal sealed class ProtoReader
{
    private readonly List<(int Field, ulong Number, byte[] Bytes)> _fields = [];

    public ProtoReader(ReadOnlySpan<byte> message)
    {
        while (message.Length > 0)
        {
            var tag = Varint(ref message);
            var field = (int)(tag >> 3);
            switch (tag & 7)
            {
                case 0:
                    _fields.Add((field, Varint(ref message), []));
                    break;
                case 2:
                    var length = (int)Varint(ref message);
                    _fields.Add((field, 0, message[..length].ToArray()));
                    message = message[length..];
                    break;
                case 5:
                    _fields.Add((field, BinaryPrimitives.ReadUInt32LittleEndian(message), []));
                    message = message[4..];
                    break;
                default:
                    throw new InvalidDataException($"wire type {tag & 7}");
            }
        }
    }

    public IEnumerable<ProtoReader> Messages(int field) => _fields.Where(item => item.Field == field).Select(item => new ProtoReader(item.Bytes));

    public string[] Texts(int field) => [.. _fields.Where(item => item.Field == field).Select(item => Encoding.UTF8.GetString(item.Bytes))];

    public long[] Numbers(int field) => [.. _fields.Where(item => item.Field == field).Select(item => (long)item.Number)];

    public string Text(int field) => Texts(field).SingleOrDefault() ?? "";

    public long Number(int field) => Numbers(field).SingleOrDefault();

    public float Single(int field) => BitConverter.UInt32BitsToSingle((uint)Number(field));

    public byte[] Bytes(int field) => _fields.Single(item => item.Field == field).Bytes;

    private static ulong Varint(ref ReadOnlySpan<byte> message)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var next = message[0];
            message = message[1..];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }
    }
}
