using System.Text;
using System.Text.Json;
using Sapo.Core;
using Sapo.Hybrid.Reports;

namespace Sapo.Hybrid.Studies;

/// <summary>How far a study is.</summary>
/// <param name="Finished">Cells that are finished.</param>
/// <param name="Cells">All cells.</param>
/// <param name="Report">The report's file.</param>
public sealed record StudyProgress(int Finished, int Cells, string Report);

/// <summary>Compares training runs as a file describes it.</summary>
public static class Study
{
    /// <summary>
    /// Runs what is left of a study and writes its report. Several processes may work on one folder at once; each ends when
    /// all cells are finished.
    /// </summary>
    /// <param name="path">The study's folder, with a study.json.</param>
    /// <param name="reportOnly">Run nothing: report on what is finished.</param>
    /// <param name="say">News, for people.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancel">Gives up the cell at hand; it is run again when the study goes on.</param>
    /// <exception cref="UserErrorException">The folder or the design is wrong, or there is nothing to report on.</exception>
    public static async Task<StudyProgress> RunAsync(string path, bool reportOnly, Action<string> say, TimeProvider time, CancellationToken cancel)
    {
        var folder = new StudyFolder(path);
        var design = StudyDesignReader.Read(folder.DesignFile);
        var cells = design.Cells(folder.DesignFile);
        say($"{design.Name}: {folder.Finished(cells).Count} of {cells.Count} cells are finished");
        if (!reportOnly) await new StudyWorker(folder, cells, say, time).RunAsync(cancel).ConfigureAwait(false);
        var finished = folder.Finished(cells);
        if (finished.Count == 0)
            throw new UserErrorException($"{folder.CellsFile} holds no cell of {folder.DesignFile}", "at least one finished cell", "Run the study without --report-only");
        Write(folder, StudySummary.Of(design, cells.Count, [.. cells.Select(cell => finished.GetValueOrDefault(cell.Id)).OfType<CellResult>()]), design.Text);
        return new StudyProgress(finished.Count, cells.Count, folder.ReportFile);
    }

    /// <summary>Several workers may come here at once: each writes the same, one after the other.</summary>
    private static void Write(StudyFolder folder, StudySummary summary, string design)
    {
        using var turn = folder.Claims.Take("report");
        AtomicFile.WriteAllBytes(folder.ResultsFile, JsonSerializer.SerializeToUtf8Bytes(summary, StudyJson.Default.StudySummary));
        AtomicFile.WriteAllBytes(folder.ReportFile, Encoding.UTF8.GetBytes(StudyPage.Html(summary, design)));
    }
}
