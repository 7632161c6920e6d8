// A safetensors file, mapped into memory: 8 bytes with the header's length, a JSON header (name -> dtype, shape,
// data_offsets), then the data without gaps. Nothing is copied: a tensor's bytes are a view of the mapping, which is
// what the engine hands to ONNX Runtime and what the learner copies its parameters from.
// A file from a stranger may be hostile, so everything is checked before anything is used: lengths, ranges, overlaps,
// gaps, duplicate names, shapes that do not fit their ranges.
using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Text.Json;

namespace Sapo.Core.Safetensors;

/// <summary>Where one tensor lies in a safetensors file.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="FileOffset">First byte, from the beginning of the file.</param>
/// <param name="Bytes">Length.</param>
public sealed record SafetensorsEntry(string Name, WeightType Type, long[] Shape, long FileOffset, long Bytes);

/// <summary>One open safetensors file. Views of its data are valid until it is disposed.</summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private const int MaxHeaderBytes = 100_000_000; // the format's own limit

    private readonly MemoryMappedFile _mapping;
    private readonly MemoryMappedViewAccessor _view;
    private readonly Dictionary<string, SafetensorsEntry> _byName;
    private byte* _start;

    private SafetensorsFile(string path, MemoryMappedFile mapping, MemoryMappedViewAccessor view, byte* start, List<SafetensorsEntry> entries)
    {
        (Path, _mapping, _view, Entries) = (path, mapping, view, entries);
        _start = start;
        _byName = entries.ToDictionary(entry => entry.Name, StringComparer.Ordinal);
    }

    /// <summary>The file's path.</summary>
    public string Path { get; }

    /// <summary>All tensors, in the order of their data.</summary>
    public IReadOnlyList<SafetensorsEntry> Entries { get; }

    /// <summary>The entry of a name, or null.</summary>
    public SafetensorsEntry? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>The address of a tensor's first byte, valid until this file is disposed.</summary>
    public nint AddressOf(SafetensorsEntry entry)
    {
        ObjectDisposedException.ThrowIf(_start is null, this);
        return (nint)(_start + entry.FileOffset);
    }

    /// <summary>A tensor's bytes as a view of the mapping, valid until this file is disposed. At most 2 GiB.</summary>
    public ReadOnlySpan<byte> Read(SafetensorsEntry entry) => Read(entry, 0, checked((int)entry.Bytes));

    /// <summary>Part of a tensor's bytes, as a view of the mapping.</summary>
    /// <param name="entry">The tensor.</param>
    /// <param name="start">First byte, within the tensor.</param>
    /// <param name="count">Number of bytes.</param>
    public ReadOnlySpan<byte> Read(SafetensorsEntry entry, long start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, entry.Bytes - count);
        return new((byte*)AddressOf(entry) + start, count);
    }

    /// <summary>Opens and checks a file.</summary>
    /// <exception cref="UserErrorException">The file is missing, truncated or not a safetensors file; the message names it and what is wrong.</exception>
    public static SafetensorsFile Open(string path)
    {
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "a safetensors file", "Check the path");
        var mapping = Map(path, out var length);
        MemoryMappedViewAccessor? view = null;
        byte* start = null;
        try
        {
            view = mapping.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            return new SafetensorsFile(path, mapping, view, start, ReadHeader(path, start, length));
        }
        catch
        {
            if (start is not null) view!.SafeMemoryMappedViewHandle.ReleasePointer();
            view?.Dispose();
            mapping.Dispose();
            throw;
        }
    }

    /// <summary>Bytes per element.</summary>
    public static int ElementSize(WeightType type) => type switch
    {
        WeightType.F64 or WeightType.I64 => 8,
        WeightType.F32 or WeightType.I32 => 4,
        WeightType.F16 or WeightType.BF16 => 2,
        _ => 1,
    };

    /// <inheritdoc />
    public void Dispose()
    {
        if (_start is null) return;
        _start = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _mapping.Dispose();
    }

    private static MemoryMappedFile Map(string path, out long length)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1);
            length = stream.Length;
            if (length < 10) throw Broken(path, $"it has {length} bytes, too few for a header");
            return MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new UserErrorException($"{path} cannot be read: {failure.Message}", "a safetensors file that this user may read", "Check the file and its permissions", failure);
        }
    }

    private static List<SafetensorsEntry> ReadHeader(string path, byte* start, long fileLength)
    {
        var headerLength = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(start, 8));
        if (headerLength > MaxHeaderBytes || (long)headerLength > fileLength - 8)
            throw Broken(path, $"its header claims {headerLength:N0} bytes, the file has {fileLength:N0}");
        var dataStart = 8 + (long)headerLength;
        var entries = new List<SafetensorsEntry>();
        try
        {
            ParseHeader(path, new ReadOnlySpan<byte>(start + 8, (int)headerLength), dataStart, entries);
        }
        catch (Exception broken) when (broken is JsonException or InvalidOperationException)
        {
            throw Broken(path, $"its header is not the JSON of the format ({broken.Message})", broken);
        }
        CheckRanges(path, entries, dataStart, fileLength);
        return entries;
    }

    private static void ParseHeader(string path, ReadOnlySpan<byte> json, long dataStart, List<SafetensorsEntry> entries)
    {
        var reader = new Utf8JsonReader(json);
        using var document = JsonDocument.ParseValue(ref reader);
        reader.Read(); // throws where anything but blanks follows
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var property in document.RootElement.EnumerateObject())
        {
            if (property.NameEquals("__metadata__"))
            {
                if (property.Value.ValueKind != JsonValueKind.Object || property.Value.EnumerateObject().Any(pair => pair.Value.ValueKind != JsonValueKind.String)) throw Broken(path, "its __metadata__ is no object of texts");
                continue;
            }
            if (!names.Add(property.Name)) throw Broken(path, $"tensor {property.Name} occurs twice (duplicate name)");
            try
            {
                entries.Add(ReadEntry(path, property.Name, property.Value, dataStart));
            }
            catch (Exception broken) when (broken is InvalidOperationException or FormatException or OverflowException or KeyNotFoundException)
            {
                throw Broken(path, $"tensor {property.Name} is described wrongly in the header ({broken.Message})", broken);
            }
        }
    }

    private static SafetensorsEntry ReadEntry(string path, string name, JsonElement tensor, long dataStart)
    {
        var typeName = tensor.GetProperty("dtype").GetString();
        if (!Enum.TryParse<WeightType>(typeName, out var type) || !string.Equals(type.ToString(), typeName, StringComparison.Ordinal))
            throw Broken(path, $"tensor {name} has dtype {typeName}, which is not supported");
        long[] shape = [.. tensor.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())];
        long[] offsets = [.. tensor.GetProperty("data_offsets").EnumerateArray().Select(offset => offset.GetInt64())];
        if (offsets.Length != 2 || shape.Any(size => size < 0) || offsets[0] < 0 || offsets[1] < offsets[0])
            throw Broken(path, $"tensor {name} has shape [{string.Join(", ", shape)}] and data_offsets [{string.Join(", ", offsets)}]");
        var expected = shape.Aggregate((long)ElementSize(type), (product, size) => checked(product * size));
        if (expected != offsets[1] - offsets[0])
            throw Broken(path, $"tensor {name} is {typeName} [{string.Join(", ", shape)}] = {expected:N0} bytes, but its data_offsets span {offsets[1] - offsets[0]:N0} bytes");
        return new SafetensorsEntry(name, type, shape, checked(dataStart + offsets[0]), expected);
    }

    private static void CheckRanges(string path, List<SafetensorsEntry> entries, long dataStart, long fileLength)
    {
        entries.Sort((a, b) => (a.FileOffset, a.Bytes).CompareTo((b.FileOffset, b.Bytes)));
        var position = dataStart;
        foreach (var entry in entries)
        {
            if (entry.Bytes > fileLength - entry.FileOffset)
                throw Broken(path, $"tensor {entry.Name} of {entry.Bytes:N0} bytes begins at byte {entry.FileOffset:N0}, outside the file of {fileLength:N0} bytes: it is truncated");
            if (entry.FileOffset < position) throw Broken(path, $"tensor {entry.Name} overlaps the one before it");
            if (entry.FileOffset > position) throw Broken(path, $"there is a gap of {entry.FileOffset - position:N0} bytes before tensor {entry.Name}");
            position = entry.FileOffset + entry.Bytes;
        }
        if (position != fileLength) throw Broken(path, $"{fileLength - position:N0} bytes follow the last tensor");
    }

    private static UserErrorException Broken(string path, string what, Exception? inner = null) =>
        new($"{path} is not a sound safetensors file: {what}", null, "Copy or download it again", inner);
}
