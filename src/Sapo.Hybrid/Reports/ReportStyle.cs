namespace Sapo.Hybrid.Reports;

/// <summary>The style sheet of all pages and drawings.</summary>
internal static class ReportStyle
{
    /// <summary>Its text.</summary>
    public static string Read()
    {
        using var stream = typeof(ReportStyle).Assembly.GetManifestResourceStream("report.css")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
