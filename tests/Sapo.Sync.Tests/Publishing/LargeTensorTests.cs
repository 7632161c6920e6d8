using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Safetensors;

namespace Sapo.Sync.Tests.Publishing;

/// <summary>A tensor that is longer than an array or a span can be. Its data are made as they are asked for, and written nowhere.</summary>
public sealed class LargeTensorTests
{
    private const long Rows = 40_000_000, Columns = 16, Elements = Rows * Columns; // 2.56e9 bytes in 32 bits
    private const float Marker = 42;

    [Fact]
    public void Pieces_TensorAboveTwoGibibytes_AreWrittenToTheLastByte()
    {
        var snapshot = Snapshot(lastElement: Marker);
        using var output = new Tail();
        var written = SafetensorsWriter.Write(output, [.. snapshot.Tensors.Select(SafetensorsWriter.HeaderOf)], index => SnapshotLayout.Pieces(snapshot, index, default));
        Assert.Equal(written.Bytes, output.Position);
        Assert.Equal(Elements * sizeof(float), written.Bytes - SafetensorsWriter.FileOffsets([SafetensorsWriter.HeaderOf(snapshot.Tensors[0])])["large"]);
        Assert.Equal(Marker, output.Last);
    }

    [Fact]
    public void Pieces_LastWeightNotFinite_IsNamedByItsElement()
    {
        var snapshot = Snapshot(lastElement: float.NaN);
        var error = Assert.Throws<UserErrorException>(() => SnapshotLayout.Pieces(snapshot, 0, default).Count());
        Assert.Contains($"large of v000001 holds NaN at element {Elements - 1}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ReaderOf_PlaceBeyondTwoGibibytes_ReadsThatPlace()
    {
        var found = new float[2];
        SnapshotLayout.ReaderOf(Snapshot(lastElement: Marker))("large", Elements - 2, found);
        Assert.Equal([0, Marker], found);
    }

    /// <summary>One tensor of zeros but for its last element.</summary>
    private static WeightSnapshot Snapshot(float lastElement)
    {
        const long Bytes = Elements * sizeof(float);
        var zeros = new byte[8 << 20];
        var data = new WeightData(Bytes, (start, count) =>
        {
            if (start + count < Bytes) return zeros.AsMemory(0, count);
            var end = new byte[count];
            MemoryMarshal.Write(end.AsSpan(count - sizeof(float)), lastElement);
            return end;
        });
        return new WeightSnapshot(new PolicyVersion(1), [new WeightTensor("large", WeightType.F32, [Rows, Columns], data)], []);
    }

    /// <summary>Counts what is written and keeps its last number.</summary>
    private sealed class Tail : Stream
    {
        private long _position;

        public float Last { get; private set; }

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _position;

        public override long Position { get => _position; set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            _position += buffer.Length;
            if (buffer.Length >= sizeof(float)) Last = MemoryMarshal.Read<float>(buffer[^sizeof(float)..]);
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
