// The live table belongs to a task of its own, since Spectre.Console wants one caller from its beginning to its end; the
// run hands it a new table through a field and wakes it.
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Sapo.Cli.Display;

/// <summary>A table of the last steps that is drawn anew after each, with the news above it.</summary>
internal sealed class LiveDisplay : RunDisplay
{
    private const int RowsShown = 12;

    private readonly IAnsiConsole _console;
    private readonly RunOptions _options;
    private readonly Lock _gate = new();
    private readonly List<string> _news = [];
    private readonly Queue<IReadOnlyList<(string Name, string Value)>> _rows = new();
    private readonly SemaphoreSlim _changed = new(0);
    private readonly Task _drawing;
    private string _coldStart = "";
    private volatile bool _ended;
    private bool _disposed;

    public LiveDisplay(IAnsiConsole console, RunOptions options)
    {
        (_console, _options) = (console, options);
        _drawing = Task.Run(DrawAsync);
    }

    public override void Say(string line) => Change(() => _news.Add(line));

    public override void ColdStartAdvanced(ColdStartRecord record, int steps) =>
        Change(() => _coldStart =
            $"Cold start: step {record.Step} of {steps}, loss {record.Loss:0.000} nats/token, {record.TokensPerSecond:N0} tokens/s");

    public override void Evaluated(string moment, EvaluationResult result) => Say(EvaluationLine(moment, result));

    public override void StepDone(StepRecord record, int steps) => Change(() =>
    {
        _rows.Enqueue(Cells(record, steps));
        if (_rows.Count > RowsShown) _rows.Dequeue();
    });

    public override void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _ended = true;
        _changed.Release();
        _drawing.GetAwaiter().GetResult();
        _changed.Dispose();
    }

    private void Change(Action change)
    {
        lock (_gate) change();
        _changed.Release();
    }

    private Task DrawAsync() => _console.Live(View()).AutoClear(false).Overflow(VerticalOverflow.Ellipsis).StartAsync(async context =>
    {
        while (!_ended)
        {
            await _changed.WaitAsync();
            context.UpdateTarget(View());
            context.Refresh();
        }
    });

    private Rows View()
    {
        lock (_gate)
        {
            var (name, rollout) = (Markup.Escape(_options.Name), _options.Rollout);
            var title = $"[bold]{name}[/]: {_options.Objective.Name}, {_options.Steps} steps of "
                + $"{rollout.PromptsPerStep} x {rollout.GroupSize} completions, seed {_options.Seed}";
            var parts = new List<IRenderable> { new Markup(title) };
            if (_coldStart.Length > 0) parts.Add(new Text(_coldStart));
            parts.AddRange(_news.Select(line => new Text(line)));
            if (_rows.Count > 0) parts.Add(Steps());
            return new Rows(parts);
        }
    }

    private Table Steps()
    {
        var table = new Table().Border(TableBorder.Rounded).BorderColor(Color.Grey);
        foreach (var (name, _) in _rows.Peek()) table.AddColumn(new TableColumn(Markup.Escape(name)).RightAligned());
        foreach (var row in _rows) table.AddRow(row.Select(cell => new Text(cell.Value)));
        return table;
    }
}
