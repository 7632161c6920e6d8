using Sapo.Hybrid.Runs;
using Spectre.Console;

namespace Sapo.Cli.Display;

/// <summary>One line per event: for logs and pipes.</summary>
internal sealed class PlainDisplay(IAnsiConsole console) : RunDisplay
{
    public override void Say(string line) => console.Profile.Out.Writer.WriteLine(line);

    public override void ColdStartAdvanced(ColdStartRecord record, int steps) =>
        Say($"cold start {record.Step}/{steps}: loss {record.Loss:0.000} nats/token, {record.TokensPerSecond:N0} tokens/s");

    public override void Evaluated(string moment, EvaluationResult result) => Say(EvaluationLine(moment, result));

    public override void StepDone(StepRecord record, int steps) =>
        Say(string.Join(", ", Cells(record, steps).Select(cell => $"{cell.Name} {cell.Value}")));

    public override void Dispose()
    {
    }
}
