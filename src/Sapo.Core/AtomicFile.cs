namespace Sapo.Core;

/// <summary>Writes a file so that, whenever the process or the machine stops, either the old content or the whole new one is there.</summary>
public static class AtomicFile
{
    /// <summary>Writes to a temporary neighbour, flushes it to the disk, then renames it over <paramref name="path"/>.</summary>
    /// <exception cref="IOException">The disk is full or not writable; the old file is untouched and the temporary one removed.</exception>
    public static T Write<T>(string path, Func<Stream, T> write)
    {
        var temporary = path + ".partial";
        try
        {
            T result;
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                result = write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
            return result;
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Writes bytes; see <see cref="Write{T}"/>.</summary>
    public static void WriteAllBytes(string path, ReadOnlyMemory<byte> content) => Write(path, stream =>
    {
        stream.Write(content.Span);
        return content.Length;
    });
}
