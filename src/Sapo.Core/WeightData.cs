namespace Sapo.Core;

/// <summary>
/// The bytes of a tensor in memory, row-major and little endian, however many: an array or a <see cref="ReadOnlyMemory{T}"/>
/// ends at 2 GiB, an embedding of 151,936 rows of 4,096 32-bit numbers does not. Borrowed: valid as long as its source says.
/// </summary>
/// <param name="length">How many bytes.</param>
/// <param name="slice">The bytes from a position on, as many as are asked for; both lie within the data.</param>
public sealed class WeightData(long length, Func<long, int, ReadOnlyMemory<byte>> slice)
{
    private const int PieceBytes = 4 << 20;

    /// <summary>How many bytes.</summary>
    public long Length { get; } = length;

    /// <summary>Data that lie in one piece.</summary>
    public static implicit operator WeightData(ReadOnlyMemory<byte> data) => new(data.Length, (start, count) => data.Slice((int)start, count));

    /// <inheritdoc cref="op_Implicit(ReadOnlyMemory{byte})"/>
    public static implicit operator WeightData(byte[] data) => (ReadOnlyMemory<byte>)data;

    /// <summary>Some of the bytes.</summary>
    /// <param name="start">The first.</param>
    /// <param name="count">How many.</param>
    public ReadOnlyMemory<byte> Slice(long start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length - count);
        return slice(start, count);
    }

    /// <summary>All bytes in order, a few million at a time, each piece with the position of its first byte.</summary>
    public IEnumerable<(long Start, ReadOnlyMemory<byte> Bytes)> Pieces()
    {
        for (long start = 0; start < Length; start += PieceBytes)
            yield return (start, slice(start, (int)Math.Min(PieceBytes, Length - start)));
    }
}
