using System.CommandLine;
using Sapo.Hybrid.Studies;

namespace Sapo.Cli.Commands;

internal static class StudyCommand
{
    public static Command Create()
    {
        var folder = new Argument<string>("folder") { Description = "The study's folder with its study.json (docs/guide.md explains it)" };
        var report = new Option<bool>("--report-only") { Description = "Run nothing; report on what is finished" };
        var command = new ExampleCommand(
            "study", "Compare training runs: every cell of a design is a run. Give the command again to go on, or in several terminals to share the work.",
            "./sapo study runs/study",
            "./sapo study runs/study --report-only")
        { folder, report };
        command.SetAction(async (parsed, cancel) =>
        {
            var progress = await Study.RunAsync(
                parsed.GetRequiredValue(folder), parsed.GetValue(report), Console.WriteLine, TimeProvider.System, cancel);
            Console.WriteLine($"{progress.Finished} of {progress.Cells} cells; report: {progress.Report}");
            return 0;
        });
        return command;
    }
}
