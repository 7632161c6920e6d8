using System.CommandLine;
using Sapo.Core.Options;

namespace Sapo.Cli.Commands;

internal static class ObjectivesCommand
{
    public static Command Create()
    {
        var command = new Command(
            "objectives", "List the objectives and advantage estimators that a run file can name, with paper and knobs.");
        command.SetAction(_ =>
        {
            foreach (var entry in ObjectiveCatalog.All)
            {
                Console.WriteLine($"{entry.Name,-16}{entry.Title} (arXiv {entry.ArxivId})");
                string[] notes = [.. new[] { Meaning(entry.Status), entry.Note }.Where(note => note.Length > 0)];
                if (notes.Length > 0) Console.WriteLine($"{"",-16}{string.Join(". ", notes)}.");
                if (entry.Knobs.Count > 0) Console.WriteLine($"{"",-16}knobs: {string.Join(", ", entry.Knobs)}");
            }
            Console.WriteLine($"\nadvantage estimators: {string.Join(", ", AdvantageOptions.Known.Select(known => known.Estimator))}");
            return 0;
        });
        command.Add(ObjectivesPlotCommand.Create());
        return command;
    }

    private static string Meaning(ObjectiveStatus status) => status switch
    {
        ObjectiveStatus.Partial => "Partial: some constants are ours",
        ObjectiveStatus.Reconstruction => "Reconstruction from an abstract",
        ObjectiveStatus.Adaptation => "Adaptation of an idea from another domain",
        _ => "", // complete: nothing to say
    };
}
