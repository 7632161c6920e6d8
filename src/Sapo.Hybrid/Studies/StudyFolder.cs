// The layout of a study's folder:
//   study.json      the design
//   cells.jsonl     one line per finished cell: what is needed to make the report, and nothing else
//   results.json    the numbers of the report; report.html the report
//   work/           claims, cold starts and the runs under way; may be removed when no process works on the study
using System.Text;
using System.Text.Json;
using Sapo.Core;

namespace Sapo.Hybrid.Studies;

/// <summary>A study's files. Any number of processes may share the folder.</summary>
internal sealed class StudyFolder(string path)
{
    private const string AppendClaim = "cells";

    /// <summary>Full path.</summary>
    public string Path { get; } = System.IO.Path.GetFullPath(path);

    /// <summary>The design.</summary>
    public string DesignFile => At("study.json");

    /// <summary>The finished cells.</summary>
    public string CellsFile => At("cells.jsonl");

    /// <summary>The report's numbers.</summary>
    public string ResultsFile => At("results.json");

    /// <summary>The report.</summary>
    public string ReportFile => At("report.html");

    /// <summary>Who does what.</summary>
    public StudyClaims Claims { get; } = new(System.IO.Path.Combine(System.IO.Path.GetFullPath(path), "work", "claims"));

    /// <summary>The folder of a run under way.</summary>
    public string RunFolder(string name) => System.IO.Path.Combine(Path, "work", name);

    /// <summary>What has been done of these cells, by cell id. A last line that a kill cut short counts as not there.</summary>
    /// <exception cref="UserErrorException">A line cannot be read, or is of a run that the study now describes otherwise.</exception>
    public IReadOnlyDictionary<string, CellResult> Finished(IReadOnlyList<StudyCell> cells)
    {
        var fingerprints = cells.ToDictionary(cell => cell.Id, cell => cell.Fingerprint, StringComparer.Ordinal);
        var finished = new Dictionary<string, CellResult>(StringComparer.Ordinal);
        if (!File.Exists(CellsFile)) return finished;
        var text = Encoding.UTF8.GetString(ReadAll());
        var number = 0;
        foreach (var line in text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var result = Parse(line, ++number);
            if (!fingerprints.TryGetValue(result.Cell, out var expected)) continue; // of a level or seed that is no longer asked for
            if (result.Fingerprint != expected)
                throw new UserErrorException(
                    $"{CellsFile}, line {number}: cell {result.Cell} was run with other options than {DesignFile} says now", null,
                    "Restore study.json, or remove cells.jsonl to run the study again");
            finished[result.Cell] = result;
        }
        return finished;
    }

    /// <summary>Adds a finished cell.</summary>
    public void Append(CellResult result)
    {
        var line = Encoding.UTF8.GetBytes(JsonSerializer.Serialize(result, StudyJson.Default.CellResult) + "\n");
        using var turn = Claims.Take(AppendClaim);
        using var stream = new FileStream(CellsFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 1);
        stream.Position = WholeLines(stream);
        stream.SetLength(stream.Position);
        stream.Write(line);
        stream.Flush(flushToDisk: true);
    }

    private string At(string name) => System.IO.Path.Combine(Path, name);

    private byte[] ReadAll()
    {
        using var stream = new FileStream(CellsFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>Where the last whole line ends.</summary>
    private static long WholeLines(FileStream stream)
    {
        for (var end = stream.Length; end > 0; end--)
        {
            stream.Position = end - 1;
            if (stream.ReadByte() == '\n') return end;
        }
        return 0;
    }

    private CellResult Parse(string line, int number)
    {
        try
        {
            return JsonSerializer.Deserialize(line, StudyJson.Default.CellResult) ?? throw new JsonException("the line holds null");
        }
        catch (JsonException broken)
        {
            throw new UserErrorException($"{CellsFile}, line {number}: it is no cell: {broken.Message.TrimEnd('.')}", null, "Remove that line; its cell is then run again", broken);
        }
    }
}
