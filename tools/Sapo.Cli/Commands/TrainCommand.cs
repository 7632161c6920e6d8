using System.CommandLine;
using Sapo.Cli.Display;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Sapo.Rollout;

namespace Sapo.Cli.Commands;

internal static class TrainCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("run-file")
        {
            Description = "The run, such as runs/quickstart.json (docs/guide.md explains every member)",
        };
        var folder = new Option<string?>("--out") { Description = "The run's folder. Default: runs/out/<name>", HelpName = "folder" };
        var seed = new Option<long?>("--seed") { Description = "Instead of the run file's seed", HelpName = "number" };
        var steps = new Option<int?>("--steps") { Description = "Instead of the run file's number of steps", HelpName = "number" };
        var fresh = new Option<bool>("--fresh") { Description = "Remove an earlier run of this folder and begin again" };
        var trace = new Option<string?>("--trace") { Description = "A trace of the run's stages and the engine's work, for ui.perfetto.dev or chrome://tracing", HelpName = "file" };
        var command = new ExampleCommand(
            "train", "Train a model as a run file says. An interrupted run goes on when the same command is given again.",
            "./sapo train runs/quickstart.json",
            "./sapo train runs/quickstart.json --seed 2 --out runs/out/seed2")
        { file, folder, seed, steps, fresh, trace };
        command.SetAction(async (parsed, cancel) =>
        {
            var options = RunOptionsReader.Read(parsed.GetRequiredValue(file));
            if (parsed.GetValue(seed) is { } otherSeed) options = options with { Seed = otherSeed };
            if (parsed.GetValue(steps) is { } otherSteps) options = (options with { Steps = otherSteps }).Validated();
            var path = parsed.GetValue(folder) ?? Path.Combine("runs", "out", options.Name);
            return await RunAsync(options, path, parsed.GetValue(fresh), Arguments(parsed), parsed.GetValue(trace), cancel);
        });
        return command;
    }

    private static async Task<int> RunAsync(RunOptions options, string folder, bool fresh, string arguments, string? traceFile, CancellationToken cancel)
    {
        var trace = EngineTrace.To(traceFile, TimeProvider.System);
        var console = Terminal.Output;
        using var display = RunDisplay.Create(console, options);
        try
        {
            var outcome = await RunSession.RunAsync(options, folder, fresh, display, TimeProvider.System, trace, cancel);
            display.Dispose();
            ResultText.Write(Console.Out, outcome);
            return 0;
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            display.Dispose();
            Console.WriteLine($"Interrupted. Go on with: ./sapo train {arguments}");
            throw;
        }
        finally
        {
            trace?.Save(traceFile!);
        }
    }

    /// <summary>What the user typed after <c>train</c>, without --fresh: typed again, it goes on.</summary>
    private static string Arguments(ParseResult parsed) =>
        string.Join(
            ' ',
            parsed.Tokens.Skip(1).Select(token => token.Value).Where(value => value != "--fresh").Select(
                value => value.Contains(' ', StringComparison.Ordinal) ? $"'{value}'" : value));
}
