using System.CommandLine;
using Sapo.Core.Options;
using Spectre.Console;

namespace Sapo.Cli.Commands;

internal static class ObjectivesCommand
{
    public static Command Create()
    {
        var command = new Command("objectives", "List the objectives and advantage estimators that a run file can name.");
        command.SetAction(_ =>
        {
            var table = new Table().Border(TableBorder.Simple).AddColumns("objective", "what it is", "paper", "text", "knobs");
            foreach (var entry in ObjectiveCatalog.All)
                table.AddRow(new Text(entry.Name), new Text(entry.Note.Length > 0 ? $"{entry.Title}. {entry.Note}." : entry.Title), new Text("arXiv " + entry.ArxivId), new Text(entry.Status.ToString()), new Text(string.Join(", ", entry.Knobs)));
            AnsiConsole.Write(table);
            AnsiConsole.WriteLine($"Advantage estimators: {string.Join(", ", AdvantageOptions.Known.Select(known => known.Estimator))}");
            AnsiConsole.WriteLine("complete: the published equations; partial: some constants are ours; reconstruction: rebuilt from an abstract; adaptation: an idea from another domain.");
            return 0;
        });
        return command;
    }
}
