// TensorBoard event files: TFRecord frames (length, masked CRC of it, payload, masked CRC of it) around Event messages in
// protobuf's wire format: wall_time = 1 (double), step = 2 (varint), file_version = 3 (string), summary = 5 { value = 1
// { tag = 1 (string), simple_value = 2 (float) } }.
using System.Buffers.Binary;
using System.Text;

namespace Sapo.Hybrid.Runs;

/// <summary>Writes scalars that TensorBoard shows. One file per process start, as TensorBoard expects; it joins them by step.</summary>
public sealed class TensorBoardWriter : IDisposable
{
    private static readonly uint[] CrcTable = MakeCrcTable();

    private readonly FileStream _file;
    private readonly TimeProvider _time;

    /// <summary>Opens a new event file.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="time">The clock.</param>
    public TensorBoardWriter(string folder, TimeProvider time)
    {
        Directory.CreateDirectory(folder);
        _time = time;
        var name = $"events.out.tfevents.{time.GetUtcNow().ToUnixTimeMilliseconds():D13}.sapo";
        _file = new FileStream(Path.Combine(folder, name), FileMode.Create, FileAccess.Write, FileShare.Read);
        WriteRecord(Event(step: 0, payload => Field(payload, 3, "brain.Event:2"u8)));
    }

    /// <summary>Writes one value per tag and flushes.</summary>
    public void Write(long step, IEnumerable<KeyValuePair<string, double>> scalars)
    {
        var summary = new MemoryStream();
        foreach (var (tag, value) in scalars)
        {
            var entry = new MemoryStream();
            Field(entry, 1, Encoding.UTF8.GetBytes(tag));
            entry.WriteByte((2 << 3) | 5);
            entry.Write(BitConverter.GetBytes((float)value));
            Field(summary, 1, entry.ToArray());
        }
        WriteRecord(Event(step, payload => Field(payload, 5, summary.ToArray())));
        _file.Flush();
    }

    /// <inheritdoc />
    public void Dispose() => _file.Dispose();

    /// <summary>CRC32C (Castagnoli), rotated and offset as TFRecord wants it.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes) crc = CrcTable[(byte)(crc ^ value)] ^ (crc >> 8);
        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
    }

    private byte[] Event(long step, Action<MemoryStream> content)
    {
        var payload = new MemoryStream();
        payload.WriteByte((1 << 3) | 1);
        payload.Write(BitConverter.GetBytes(_time.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0));
        payload.WriteByte(2 << 3);
        Varint(payload, (ulong)step);
        content(payload);
        return payload.ToArray();
    }

    private void WriteRecord(byte[] payload)
    {
        Span<byte> length = stackalloc byte[8], crc = stackalloc byte[4];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)payload.Length);
        _file.Write(length);
        BinaryPrimitives.WriteUInt32LittleEndian(crc, MaskedCrc(length));
        _file.Write(crc);
        _file.Write(payload);
        BinaryPrimitives.WriteUInt32LittleEndian(crc, MaskedCrc(payload));
        _file.Write(crc);
    }

    private static void Field(MemoryStream target, int number, ReadOnlySpan<byte> content)
    {
        target.WriteByte((byte)((number << 3) | 2));
        Varint(target, (ulong)content.Length);
        target.Write(content);
    }

    private static void Varint(MemoryStream target, ulong value)
    {
        for (; value >= 128; value >>= 7) target.WriteByte((byte)(value | 128));
        target.WriteByte((byte)value);
    }

    private static uint[] MakeCrcTable()
    {
        const uint ReversedPolynomial = 0x82F63B78;
        var table = new uint[256];
        for (uint i = 0; i < 256; i++)
        {
            var value = i;
            for (var bit = 0; bit < 8; bit++) value = (value & 1) != 0 ? (value >> 1) ^ ReversedPolynomial : value >> 1;
            table[i] = value;
        }
        return table;
    }
}
