// The sapo command: parses, calls Sapo.Hybrid, renders. Exit codes: 0 done, 1 a failed run or a bug, 2 something the user
// can mend (one line, no stack trace), 130 interrupted.
using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using Sapo.Cli.Commands;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid;
using Sapo.Hybrid.Runs;
using Sapo.Learner.Optimization;
using Sapo.Rollout;

using var interrupt = new CancellationTokenSource();
using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
using var onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);

var root = new RootCommand(
    """
    Sapo trains language models with reinforcement learning (Soft Adaptive Policy Optimization): an ONNX Runtime engine
    samples, a TorchSharp learner learns, and every new policy version is published back to the engine.

    To begin:  ./sapo train runs/quickstart.json
    """)
{
    TrainCommand.Create(),
    RolloutCommand.Create(),
    EvalCommand.Create(),
    ServeCommand.Create(),
    DoctorCommand.Create(),
    ObjectivesCommand.Create(),
    ProfileCommand.Create(),
    StudyCommand.Create(),
};

ExampleCommand.ShowIn(root);

try
{
    var parsed = root.Parse(args.Length == 0 ? ["--help"] : args);
    if (parsed.Action is ParseErrorAction) throw CommandLineError(parsed);
    return await parsed.InvokeAsync(
        new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, interrupt.Token);
}
catch (UserErrorException mistake)
{
    return Fail(2, mistake.Message);
}
catch (OperationCanceledException) when (interrupt.IsCancellationRequested)
{
    return 130;
}
catch (Exception failure) when (
    failure is StalledException or SwapFailedException or RolloutException or TrainingDivergedException or PolicyBrokenException
        or TimeoutException)
{
    return Fail(1, failure.Message);
}
catch (Exception denied) when (denied is UnauthorizedAccessException or IOException and not (FileNotFoundException or FileLoadException)) // those two name assemblies, too
{
    return Fail(2, new UserErrorException(denied.Message.TrimEnd('.'), "files and folders that this user may read and write, on a disk with room", "Check the path, its permissions and the free space", denied).Message);
}
catch (Exception bug)
{
    return Fail(1, $"this should not have happened:\n{bug}");
}

static UserErrorException CommandLineError(ParseResult parsed)
{
    var command = parsed.CommandResult.Command;
    var subcommands = command.Subcommands.Select(sub => sub.Name).ToList();
    var found = string.Join("; ", parsed.Errors.Select(error => error.Message.TrimEnd('.')));
    if (parsed.UnmatchedTokens is [var unknown, ..])
    {
        var isCommand = subcommands.Count > 0 && (command is RootCommand || !unknown.StartsWith('-'));
        var known = isCommand ? subcommands : command.Options.Select(option => option.Name);
        var nearest = NearestName.Of(unknown, known) is { } name ? $"; the nearest is {name}" : "";
        found = $"there is no {(isCommand ? "command" : "option")} {unknown}{nearest}";
    }
    return new UserErrorException(found, null, $"See ./sapo {PathOf(parsed.CommandResult)}--help");
}

// The names of a command and those above it, each with a space after it; nothing for the root.
static string PathOf(CommandResult result) =>
    result.Command is RootCommand ? "" : (result.Parent is CommandResult parent ? PathOf(parent) : "") + result.Command.Name + " ";

static int Fail(int code, string message)
{
    Console.Error.WriteLine($"error: {message}");
    return code;
}

// The first signal asks the command to stop; a second one ends the process at once, as it would without us.
void Interrupt(PosixSignalContext context)
{
    if (interrupt.IsCancellationRequested) return;
    context.Cancel = true;
    interrupt.Cancel();
}
