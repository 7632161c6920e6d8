using System.CommandLine;
using Sapo.Cli.Display;
using Sapo.Hybrid.Doctor;
using Spectre.Console;

namespace Sapo.Cli.Commands;

internal static class DoctorCommand
{
    public static Command Create()
    {
        var folder = new Option<string>("--folder")
        {
            Description = "The folder that runs will be written to: its disk is looked at",
            DefaultValueFactory = _ => ".",
            HelpName = "folder",
        };
        var command = new Command("doctor", "Look at this machine: engines, cores, memory, GPU, disk; what is wrong, and what to do about it. Exit code 2 if Sapo cannot work here.") { folder };
        command.SetAction(parsed =>
        {
            var findings = Diagnosis.Examine(parsed.GetRequiredValue(folder));
            var table = new Table().Border(TableBorder.None).HideHeaders().AddColumns("", "", "");
            foreach (var finding in findings)
            {
                table.AddRow(Sign(finding.Status), new Text(finding.Area), new Text(finding.Found));
                if (finding.Remedy is { } remedy) table.AddRow(Text.Empty, Text.Empty, new Text(remedy, new Style(Color.Yellow)));
            }
            Terminal.Output.Write(table);
            return Diagnosis.ExitCode(findings);
        });
        return command;
    }

    private static Text Sign(FindingStatus status) => status switch
    {
        FindingStatus.Good => new Text("ok", new Style(Color.Green)),
        FindingStatus.Attention => new Text("slow", new Style(Color.Yellow)),
        _ => new Text("wrong", new Style(Color.Red)),
    };
}
