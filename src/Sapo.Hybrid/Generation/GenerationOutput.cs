// The output file of a generation: lines are appended as completions end, one each. Restarted, it keeps what is
// whole, cuts off a half-written last line, and says which completions are there.
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Sapo.Core;

namespace Sapo.Hybrid.Generation;

/// <summary>An output file being written or continued.</summary>
internal sealed class GenerationOutput : IDisposable
{
    /// <summary>For lines that people read: characters such as + and &gt; as they are.</summary>
    private static readonly GenerationJson Readable =
        new(new JsonSerializerOptions(GenerationJson.Default.Options) { TypeInfoResolver = null, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    private readonly FileStream _file;
    private readonly HashSet<(int Line, int Sample)> _done;

    private GenerationOutput(FileStream file, HashSet<(int Line, int Sample)> done) => (_file, _done) = (file, done);

    /// <summary>Completions that were there already.</summary>
    public int AlreadyDone => _done.Count;

    /// <summary>Opens a file.</summary>
    /// <param name="path">New, or begun with the same stamp.</param>
    /// <param name="stamp">What is being done.</param>
    /// <exception cref="UserErrorException">The file was begun with other options, is none of ours, or cannot be written.</exception>
    public static GenerationOutput Open(string path, GenerationStamp stamp)
    {
        var stampPath = path + ".options.json";
        var text = JsonSerializer.Serialize(stamp, GenerationJson.Default.GenerationStamp);
        try
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder) Directory.CreateDirectory(folder);
            var isOld = File.Exists(path) && new FileInfo(path).Length > 0;
            if (isOld && !(File.Exists(stampPath) && string.Equals(File.ReadAllText(stampPath), text, StringComparison.Ordinal)))
                throw new UserErrorException(
                    $"{path} is there and was not begun with these options",
                    "a new file, or the one of an interrupted run of the same command", "Give another --out, or remove it");
            if (!isOld) AtomicFile.WriteAllBytes(stampPath, Encoding.UTF8.GetBytes(text));
            var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            try
            {
                return new GenerationOutput(file, ReadDone(file, path));
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException(
                $"{path} cannot be written: {failure.Message}", "a file that this user may write and no other process writes",
                "Give another --out", failure);
        }
    }

    /// <summary>Samples of a line that are still to be made, as runs of neighbours.</summary>
    public IEnumerable<(int First, int Count)> Missing(int line, int samples)
    {
        for (var first = 0; first < samples;)
        {
            if (_done.Contains((line, first)))
            {
                first++;
                continue;
            }
            var end = first + 1;
            while (end < samples && !_done.Contains((line, end))) end++;
            yield return (first, end - first);
            first = end;
        }
    }

    /// <summary>Appends completions and waits until they are on the disk.</summary>
    /// <exception cref="IOException">The disk is full, or failed; a half-written line is cut off when the file is opened again.</exception>
    public void Write(IEnumerable<GeneratedLine> lines)
    {
        foreach (var line in lines) _file.Write([.. JsonSerializer.SerializeToUtf8Bytes(line, Readable.GeneratedLine), (byte)'\n']);
        _file.Flush(flushToDisk: true);
    }

    /// <inheritdoc />
    public void Dispose() => _file.Dispose();

    private static HashSet<(int Line, int Sample)> ReadDone(FileStream file, string path)
    {
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var whole = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        if (whole < bytes.Length) file.SetLength(whole);
        file.Position = whole;
        var done = new HashSet<(int Line, int Sample)>();
        var number = 0;
        foreach (var text in Encoding.UTF8.GetString(bytes, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            number++;
            try
            {
                var line = JsonSerializer.Deserialize(text, GenerationJson.Default.GeneratedLine)!;
                done.Add((line.Line, line.Sample));
            }
            catch (JsonException broken)
            {
                throw new UserErrorException(
                    $"{path}, line {number} is no completion: {broken.Message}", null, "Remove the file to begin again", broken);
            }
        }
        return done;
    }
}
