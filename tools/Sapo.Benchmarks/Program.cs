// Times the parts side by side and states ratios, each taken between runs in turns within this one process:
//   dotnet run -c Release --project tools/Sapo.Benchmarks
//   dotnet run -c Release --project tools/Sapo.Benchmarks -- --models 100m --engine-only --llama llama-batched-bench --gguf m-f32.gguf
// The result, with machine, commit and versions, goes to results/<processor>.json. The learner's speed beside another
// program's, in turns within one run, goes to results/<processor>-learner.json:
//   dotnet run -c Release --project tools/Sapo.Benchmarks -- learner --peer "python3 train.py {model} --batch {batch} --seq {sequence}"
using System.CommandLine;
using System.Text.Json;
using Sapo.Benchmarks;
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Hybrid.Profiling;

var models = new Option<string[]>("--models")
{
    Description = $"Shapes with random weights: {string.Join(", ", ModelShapes.Names)}", DefaultValueFactory = _ => [.. ModelShapes.Names], AllowMultipleArgumentsPerToken = true,
};
var turns = new Option<int>("--turns") { Description = "How often each run is repeated, in turns with those it is compared with; the median counts", DefaultValueFactory = _ => 3 };
var engineOnly = new Option<bool>("--engine-only") { Description = "Leave publishing and learning out" };
var llama = new Option<string?>("--llama") { Description = "llama.cpp's llama-batched-bench, to be run in turns with the engine; needs --gguf and one model", HelpName = "program" };
var gguf = new Option<string?>("--gguf") { Description = "A model of the same shape for it, in F32", HelpName = "file" };
var output = new Option<string?>("--out") { Description = "The result. Default: tools/Sapo.Benchmarks/results/<processor>.json below the present folder", HelpName = "file" };
var command = new RootCommand("Time engine, learner, publishing and swapping side by side.") { models, turns, engineOnly, llama, gguf, output };
command.Subcommands.Add(LearnerComparison.Create());
command.SetAction((parsed, cancel) => RunAsync(
    parsed.GetRequiredValue(models), parsed.GetValue(turns), parsed.GetValue(engineOnly), Llama(parsed.GetValue(llama), parsed.GetValue(gguf), parsed.GetRequiredValue(models)), parsed.GetValue(output), cancel));
try
{
    return await command.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (UserErrorException mistake)
{
    Console.Error.WriteLine($"error: {mistake.Message}");
    return 2;
}

static LlamaBenchmark? Llama(string? program, string? gguf, string[] shapes)
{
    if (program is null && gguf is null) return null;
    if (program is null || gguf is null || shapes.Length != 1)
        throw new UserErrorException("--llama and --gguf do not stand together with one --models", "both of them, and the one shape that the GGUF file has", "Correct the command line");
    foreach (var file in new[] { program, gguf })
        if (!File.Exists(file)) throw new UserErrorException($"{file} does not exist", "llama-batched-bench of llama.cpp and a GGUF model", "Check --llama and --gguf");
    return new LlamaBenchmark(Path.GetFullPath(program), Path.GetFullPath(gguf));
}

static async Task<int> RunAsync(string[] shapes, int turns, bool engineOnly, LlamaBenchmark? llama, string? output, CancellationToken cancel)
{
    if (turns < 1) throw new UserErrorException($"--turns is {turns}", "at least 1", "Correct the command line");
    foreach (var shape in shapes) ModelShapes.Named(shape);
    var budget = ThreadBudget.ForMachine(overlapped: false);
    NativeEnvironment.Prepare(budget);
    var context = ProfileContext.Look(TimeProvider.System);
    var file = ResultFile.For(context, output, "");
    var limits = MachineLimits.Measure(budget.EngineThreads);
    var results = new List<ModelBenchmark>();
    foreach (var shape in shapes)
    {
        using var model = ProfiledModel.Open(folder: null, shape, Console.Error.WriteLine);
        var benchmark = await new BenchmarkRun(model, limits, budget, llama, turns, Console.Error.WriteLine).RunAsync(engineOnly, cancel);
        Console.WriteLine($"{ProfileText.Head(context, limits, benchmark.Model)}\n{BenchmarkRatio.Table(benchmark.Ratios)}");
        results.Add(benchmark);
    }
    var report = new BenchmarkReport(context, limits, turns, results);
    ResultFile.Write(file, JsonSerializer.SerializeToUtf8Bytes(report, BenchmarkJson.Default.BenchmarkReport));
    return 0;
}
