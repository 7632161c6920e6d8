using System.Text;

namespace Sapo.Hybrid.Profiling;

/// <summary>A table as Markdown whose columns also line up in a terminal: the first column to the left, numbers to the right.</summary>
/// <param name="columns">Headings.</param>
public sealed class ProfileTable(params string[] columns)
{
    private readonly List<string[]> _rows = [];

    /// <summary>Adds a row of as many cells as there are columns.</summary>
    /// <exception cref="ArgumentException">Too few or too many cells.</exception>
    public ProfileTable Add(params string[] cells)
    {
        if (cells.Length != columns.Length) throw new ArgumentException($"A row has {cells.Length} cells, the table {columns.Length} columns.", nameof(cells));
        _rows.Add(cells);
        return this;
    }

    /// <inheritdoc />
    public override string ToString()
    {
        int[] widths = [.. columns.Select((heading, column) => _rows.Select(row => row[column].Length).Append(heading.Length).Append(3).Max())];
        var text = new StringBuilder();
        Write(text, widths, columns);
        text.Append("| ").AppendJoin(" | ", widths.Select((width, column) => column == 0 ? new string('-', width) : new string('-', width - 1) + ":")).Append(" |\n");
        foreach (var row in _rows) Write(text, widths, row);
        return text.ToString();
    }

    private static void Write(StringBuilder text, int[] widths, string[] cells) =>
        text.Append("| ").AppendJoin(" | ", cells.Select((cell, column) => column == 0 ? cell.PadRight(widths[column]) : cell.PadLeft(widths[column]))).Append(" |\n");
}
