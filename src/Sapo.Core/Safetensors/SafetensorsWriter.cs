// Writes safetensors files. Where each tensor lies depends on names, types and shapes alone, so a file's layout is known
// before its data exist: graphs point into it by offset, and data may be made one tensor at a time.
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;

namespace Sapo.Core.Safetensors;

/// <summary>Name, type and shape of a tensor that will be written.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions, outermost first; empty for a scalar.</param>
public sealed record TensorHeader(string Name, WeightType Type, IReadOnlyList<long> Shape)
{
    /// <summary>Size of its data.</summary>
    public long Bytes => Shape.Aggregate((long)SafetensorsFile.ElementSize(Type), (product, size) => checked(product * size));
}

/// <summary>Size and hash of a file that was written.</summary>
/// <param name="Bytes">Size.</param>
/// <param name="Sha256">Lower-case hexadecimal SHA-256 of its content.</param>
public readonly record struct WrittenFile(long Bytes, string Sha256);

/// <summary>Writes safetensors: the header's length, the header padded so that the data begins at a multiple of 64 bytes, then every tensor in order.</summary>
public static class SafetensorsWriter
{
    private const int Alignment = 64; // one cache line: initializers are used where they lie

    /// <summary>Writes all tensors to a stream, hashing as it goes.</summary>
    /// <param name="output">Written to from where it stands.</param>
    /// <param name="tensors">The tensors in the order they are to lie in.</param>
    /// <param name="metadata">Texts for the header, beside <c>format</c>.</param>
    /// <exception cref="ArgumentException">A tensor's data are not as long as its type and shape say.</exception>
    public static WrittenFile Write(Stream output, IReadOnlyList<WeightTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        Write(output, [.. tensors.Select(HeaderOf)], index => tensors[index].Data.Pieces().Select(piece => piece.Bytes), metadata);

    /// <summary>Writes tensors whose data are made one after the other, in pieces of any size.</summary>
    /// <param name="output">Written to from where it stands.</param>
    /// <param name="tensors">What is written, in order.</param>
    /// <param name="dataOf">The pieces of the tensor at an index of <paramref name="tensors"/>; each is written before the next is asked for.</param>
    /// <param name="metadata">Texts for the header, beside <c>format</c>.</param>
    /// <exception cref="ArgumentException">A tensor's pieces are together not as long as its type and shape say.</exception>
    public static WrittenFile Write(
        Stream output, IReadOnlyList<TensorHeader> tensors, Func<int, IEnumerable<ReadOnlyMemory<byte>>> dataOf, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long bytes = 0;
        void Append(ReadOnlySpan<byte> data)
        {
            output.Write(data);
            hash.AppendData(data);
            bytes += data.Length;
        }
        Append(Header(tensors, metadata));
        for (var i = 0; i < tensors.Count; i++)
        {
            var end = bytes + tensors[i].Bytes;
            foreach (var piece in dataOf(i)) Append(piece.Span);
            if (bytes != end)
                throw new ArgumentException($"{tensors[i].Name} is {tensors[i].Type} [{string.Join(", ", tensors[i].Shape)}] = {tensors[i].Bytes:N0} bytes, its data are {bytes - end:+#,0;-#,0} bytes off.", nameof(dataOf));
        }
        return new WrittenFile(bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>The header of a tensor that is already in memory.</summary>
    public static TensorHeader HeaderOf(WeightTensor tensor) => new(tensor.Name, tensor.Type, tensor.Shape);

    /// <summary>Where the data of each tensor will begin, from the beginning of the file.</summary>
    public static IReadOnlyDictionary<string, long> FileOffsets(IReadOnlyList<TensorHeader> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        long position = Header(tensors, metadata).Length;
        var offsets = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            offsets.Add(tensor.Name, position);
            position += tensor.Bytes;
        }
        return offsets;
    }

    private static byte[] Header(IReadOnlyList<TensorHeader> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        buffer.Write(stackalloc byte[8]);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt");
            foreach (var (key, value) in metadata ?? new Dictionary<string, string>(StringComparer.Ordinal)) json.WriteString(key, value);
            json.WriteEndObject();
            long offset = 0;
            foreach (var tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.Type.ToString());
                json.WriteStartArray("shape");
                foreach (var size in tensor.Shape) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += tensor.Bytes);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (buffer.Length % Alignment != 0) buffer.WriteByte((byte)' ');
        var header = buffer.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(header.Length - 8));
        return header;
    }
}
