using System.Buffers.Binary;
using System.Text;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class TensorBoardWriterTests
{
    [Fact]
    public void MaskedCrc_CheckValueOfCastagnoli_IsRotatedAndOffset()
    {
        const uint Crc = 0xE3069283; // the published check value of CRC-32C over "123456789"
        Assert.Equal(((Crc >> 15) | (Crc << 17)) + 0xA282EAD8, TensorBoardWriter.MaskedCrc("123456789"u8));
    }

    [Fact]
    public void Write_Scalars_AreFramedEventsWithTagsAndValues()
    {
        using var folder = new TemporaryFolder();
        using (var writer = new TensorBoardWriter(folder.Path, new ManualClock()))
            writer.Write(3, [new("reward/mean", 0.25), new("entropy", 1.5)]);
        var events = Records(File.ReadAllBytes(Assert.Single(Directory.GetFiles(folder.Path, "events.out.tfevents.*")))).ToList();
        Assert.Equal(2, events.Count);
        Assert.Contains("brain.Event:2", Encoding.ASCII.GetString(events[0]), StringComparison.Ordinal);
        // Event: wall_time (9 bytes), step = 3, summary { value { tag, simple_value } value { ... } }.
        byte[] first = [0x0A, 11, .. "reward/mean"u8, 0x15, .. BitConverter.GetBytes(0.25f)];
        byte[] second = [0x0A, 7, .. "entropy"u8, 0x15, .. BitConverter.GetBytes(1.5f)];
        byte[] summary = [0x0A, (byte)first.Length, .. first, 0x0A, (byte)second.Length, .. second];
        Assert.Equal([0x10, 3, 0x2A, (byte)summary.Length, .. summary], events[1][9..]);
    }

    private static IEnumerable<byte[]> Records(byte[] file)
    {
        for (var at = 0; at < file.Length;)
        {
            var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.Equal(TensorBoardWriter.MaskedCrc(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            var payload = file[(at + 12)..(at + 12 + length)];
            Assert.Equal(TensorBoardWriter.MaskedCrc(payload), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)));
            yield return payload;
            at += 16 + length;
        }
    }
}
