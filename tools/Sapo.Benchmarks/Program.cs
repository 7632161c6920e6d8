// Times the parts side by side and states ratios, each taken between runs in turns within this one process:
//   dotnet run -c Release --project tools/Sapo.Benchmarks -- --models tiny 100m
// The result, with machine, commit and versions, goes to results/<processor>.json.
using System.CommandLine;
using System.Text;
using System.Text.Json;
using Sapo.Benchmarks;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Hybrid.Profiling;

var models = new Option<string[]>("--models")
{
    Description = $"Shapes with random weights: {string.Join(", ", ModelShapes.Names)}", DefaultValueFactory = _ => ["tiny", "100m"], AllowMultipleArgumentsPerToken = true,
};
var turns = new Option<int>("--turns") { Description = "How often each run is repeated, in turns with those it is compared with; the fastest counts", DefaultValueFactory = _ => 2 };
var output = new Option<string?>("--out") { Description = "The result. Default: tools/Sapo.Benchmarks/results/<processor>.json below the present folder", HelpName = "file" };
var command = new RootCommand("Time engine, learner, publishing and swapping side by side.") { models, turns, output };
command.SetAction((parsed, cancel) => RunAsync(parsed.GetRequiredValue(models), parsed.GetValue(turns), parsed.GetValue(output), cancel));
try
{
    return await command.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (UserErrorException mistake)
{
    Console.Error.WriteLine($"error: {mistake.Message}");
    return 2;
}

static async Task<int> RunAsync(string[] shapes, int turns, string? output, CancellationToken cancel)
{
    if (turns < 1) throw new UserErrorException($"--turns is {turns}", "at least 1", "Correct the command line");
    foreach (var shape in shapes) ModelShapes.Named(shape);
    var budget = ThreadBudget.ForMachine(overlapped: false);
    NativeEnvironment.Prepare(budget);
    var context = ProfileContext.Look(TimeProvider.System);
    var file = output ?? Path.Combine("tools", "Sapo.Benchmarks", "results", FileNameOf(context.Processor, context.Cores) + ".json");
    ProfileFiles.Prepare(Path.GetDirectoryName(Path.GetFullPath(file))!);
    var limits = MachineLimits.Measure(budget.EngineThreads);
    var results = new List<ModelBenchmark>();
    foreach (var shape in shapes)
    {
        using var model = ProfiledModel.Open(folder: null, shape, Console.Error.WriteLine);
        var benchmark = await new BenchmarkRun(model, limits, budget, turns, Console.Error.WriteLine).RunAsync(cancel);
        Console.WriteLine($"{ProfileText.Head(context, limits, benchmark.Model)}\n{BenchmarkRatio.Table(benchmark.Ratios)}");
        results.Add(benchmark);
    }
    var report = new BenchmarkReport(context, limits, turns, results);
    AtomicFile.WriteAllBytes(file, (byte[])[.. JsonSerializer.SerializeToUtf8Bytes(report, BenchmarkJson.Default.BenchmarkReport), (byte)'\n']);
    Console.WriteLine($"Saved: {file}");
    return 0;
}

// "AMD EPYC 7B13" on 2 cores: amd-epyc-7b13-2-cores.
static string FileNameOf(string processor, int cores)
{
    var name = new StringBuilder();
    foreach (var letter in $"{processor} {cores} cores".ToLowerInvariant())
    {
        if (char.IsAsciiLetterOrDigit(letter)) name.Append(letter);
        else if (name.Length > 0 && name[^1] != '-') name.Append('-');
    }
    return name.ToString().Trim('-');
}
