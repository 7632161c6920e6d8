using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;

namespace Sapo.Core.Safetensors;

/// <summary>Writes safetensors: the header's length, the header padded so that the data begins at a multiple of 64 bytes, then every tensor in order.</summary>
public static class SafetensorsWriter
{
    private const int Alignment = 64; // one cache line: initializers are used where they lie

    /// <summary>Writes all tensors to a stream, hashing as it goes.</summary>
    /// <returns>The number of bytes and the SHA-256 of the file, lower-case hexadecimal.</returns>
    public static (long Bytes, string Sha256) Write(Stream output, IReadOnlyList<WeightTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var header = Header(tensors, metadata);
        output.Write(header);
        hash.AppendData(header);
        long bytes = header.Length;
        foreach (var tensor in tensors)
        {
            output.Write(tensor.Data.Span);
            hash.AppendData(tensor.Data.Span);
            bytes += tensor.Data.Length;
        }
        return (bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>Where the data of each tensor will begin, from the beginning of the file. Depends on names, types and shapes alone.</summary>
    public static IReadOnlyDictionary<string, long> FileOffsets(IReadOnlyList<WeightTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        long position = Header(tensors, metadata).Length;
        var offsets = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            offsets.Add(tensor.Name, position);
            position += tensor.Data.Length;
        }
        return offsets;
    }

    private static byte[] Header(IReadOnlyList<WeightTensor> tensors, IReadOnlyDictionary<string, string>? metadata)
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
                json.WriteNumberValue(offset += tensor.Data.Length);
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
