// The sapo command: parses, calls Sapo.Hybrid, renders. Exit codes: 0 done, 1 a failed run or a bug, 2 something the user
// can mend (one line, no stack trace), 130 interrupted.
using System.CommandLine;
using System.Runtime.InteropServices;
using Sapo.Cli.Commands;
using Sapo.Core;
using Sapo.Hybrid;
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
    DoctorCommand.Create(),
    ObjectivesCommand.Create(),
};

try
{
    return await root.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, interrupt.Token);
}
catch (UserErrorException mistake)
{
    return Fail(2, mistake.Message);
}
catch (OperationCanceledException) when (interrupt.IsCancellationRequested)
{
    return 130;
}
catch (Exception failure) when (failure is StalledException or SwapFailedException or RolloutException or TrainingDivergedException or TimeoutException)
{
    return Fail(1, failure.Message);
}
catch (Exception bug)
{
    return Fail(1, $"this should not have happened:\n{bug}");
}

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
