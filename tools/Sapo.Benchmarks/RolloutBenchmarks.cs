// The engine's benchmarks of one model: every run is repeated in turns with the others, each turn gives one ratio, and the
// median of the turns is stated. So work that comes and goes on the machine meets both sides of a ratio.
using Sapo.Core.Machine;
using Sapo.Core.Options;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>Times the engine in its settings, GenAI as others use it, and llama.cpp where there is one.</summary>
/// <param name="model">The model; not owned.</param>
/// <param name="limits">What the machine can do.</param>
/// <param name="budget">Its cores.</param>
/// <param name="llama">llama.cpp's program and the model for it, or null.</param>
/// <param name="turns">Repetitions.</param>
/// <param name="say">Told how far it is.</param>
internal sealed class RolloutBenchmarks(ProfiledModel model, MachineLimits limits, ThreadBudget budget, LlamaBenchmark? llama, int turns, Action<string> say)
{
    private const string Base = "16 slots", Wide = "64 slots", GenAi = "16 slots, session genai", Prepacked = "16 slots, prepacked", Unpacked = "16 slots, unpacked", OneThread = "16 slots, 1 thread", Alone = "16 slots, groups of 1";
    private const string Decoded = "decoded tokens/s", Whole = "tokens/s", Share = "share";
    private const long LargeModel = 300_000_000; // beyond it completions are shorter, so that a turn stays within minutes

    private readonly RolloutProfiler _engine = new(model, limits, TimeProvider.System);
    private readonly Dictionary<string, List<RolloutPoint>> _points = new(StringComparer.Ordinal);
    private readonly List<double> _stockGenAi = [], _stockGenAi32 = [], _llama16 = [], _llama64 = [];

    /// <summary>What 16 slots are asked to do.</summary>
    public RolloutWorkload Workload { get; } = new()
    {
        Slots = 16, PromptTokens = 64, NewTokens = model.Config.ParameterCount < LargeModel ? 128 : 32, GroupSize = 8, Rounds = 2,
    };

    /// <summary>The engine's runs, by name: of each the one with the median speed.</summary>
    public IReadOnlyDictionary<string, RolloutPoint> MedianPoints => _points.ToDictionary(
        run => run.Key, run => run.Value.OrderBy(point => point.TokensPerSecond).ElementAt((run.Value.Count - 1) / 2), StringComparer.Ordinal);

    /// <summary>Runs all turns.</summary>
    public async Task<IReadOnlyList<BenchmarkRatio>> RunAsync(CancellationToken cancel)
    {
        for (var turn = 1; turn <= turns; turn++)
        {
            foreach (var (name, workload, threads, prepack) in Runs())
            {
                say($"{model.Name}: {name}, turn {turn} of {turns} ...");
                if (!_points.TryGetValue(name, out var points)) _points.Add(name, points = []);
                points.Add(await _engine.MeasureAsync(workload, threads, prepack, cancel));
            }
            say($"{model.Name}: GenAI with its own sampler, turn {turn} of {turns} ...");
            _stockGenAi.Add(StockGenAiBenchmark.TokensPerSecond(model.Policy, Workload, model.Config.VocabSize, budget.EngineThreads));
            _stockGenAi32.Add(StockGenAiBenchmark.TokensPerSecond(model.Policy, Workload with { Slots = EngineOptions.MostGenAiSlots }, model.Config.VocabSize, budget.EngineThreads));
            if (llama is null) continue;
            say($"{model.Name}: llama.cpp, turn {turn} of {turns} ...");
            _llama16.Add(await llama.DecodeTokensPerSecondAsync(Workload, budget.EngineThreads, cancel));
            _llama64.Add(await llama.DecodeTokensPerSecondAsync(Workload with { Slots = 64 }, budget.EngineThreads, cancel));
        }
        return [.. Ratios()];
    }

    private IEnumerable<(string Name, RolloutWorkload Workload, int Threads, string Prepack)> Runs()
    {
        yield return (Base, Workload, budget.EngineThreads, EngineOptions.Auto);
        yield return (Wide, Workload with { Slots = 64, Rounds = 1 }, budget.EngineThreads, EngineOptions.Auto);
        yield return (GenAi, Workload with { Session = "genai" }, budget.EngineThreads, EngineOptions.Auto);
        yield return (Prepacked, Workload, budget.EngineThreads, "before");
        yield return (Unpacked, Workload, budget.EngineThreads, "never");
        yield return (Alone, Workload with { GroupSize = 1 }, budget.EngineThreads, EngineOptions.Auto);
        if (budget.EngineThreads > 1) yield return (OneThread, Workload, 1, EngineOptions.Auto);
    }

    private IEnumerable<BenchmarkRatio> Ratios()
    {
        var work = $"16 slots, prompt {Workload.PromptTokens}, {Workload.NewTokens} new, groups of {Workload.GroupSize}";
        if (llama is not null)
        {
            yield return BenchmarkRatio.Of("engine / llama.cpp, 16 sequences", Of(Base, DecodeRate), _llama16, Decoded, work, ">= 1.5");
            yield return BenchmarkRatio.Of("engine / llama.cpp, 64 sequences", Of(Wide, DecodeRate), _llama64, Decoded, work.Replace("16 slots", "64 slots", StringComparison.Ordinal));
        }
        yield return BenchmarkRatio.Of("engine / GenAI with its own sampler", Of(Base, Rate), _stockGenAi, Whole, work, ">= 5");
        yield return BenchmarkRatio.Of("engine, 64 slots / GenAI with its own sampler, 32 rows, its most", Of(Wide, Rate), _stockGenAi32, Whole, work.Replace("16 slots", "64 slots", StringComparison.Ordinal));
        yield return BenchmarkRatio.Of("session ort / session genai", Of(Base, Rate), Of(GenAi, Rate), Whole, work);
        yield return BenchmarkRatio.Of("64 slots / 16 slots", Of(Wide, DecodeRate), Of(Base, DecodeRate), Decoded, work, ">= 1.3");
        yield return BenchmarkRatio.Of("groups of 8 / groups of 1", Of(Base, Rate), Of(Alone, Rate), Whole, work);
        yield return BenchmarkRatio.Of("own products / prepacked", Of(Base, DecodeRate), Of(Prepacked, DecodeRate), Decoded, work);
        yield return BenchmarkRatio.Of("prepacked / unpacked", Of(Prepacked, DecodeRate), Of(Unpacked, DecodeRate), Decoded, work);
        if (_points.ContainsKey(OneThread)) yield return BenchmarkRatio.Of($"{budget.EngineThreads} threads / 1 thread", Of(Base, DecodeRate), Of(OneThread, DecodeRate), Decoded, work);
        yield return BenchmarkRatio.Of("scheduling and copies / the thread's work", Of(Base, point => point.HostSeconds + point.CopySeconds), Of(Base, point => point.BusySeconds), "s", work, "< 0.05");
        yield return BenchmarkRatio.Of("slots that worked / slots, while work waited", Of(Base, point => point.SlotUtilisation), Of(Base, _ => 1), Share, work, "> 0.9");
        yield return BenchmarkRatio.Of("prompt tokens computed / asked for by completions", Of(Base, point => point.PromptTokensComputed), Of(Base, point => point.PromptTokensRequested), "tokens", work, $"{1.0 / Workload.GroupSize}");
    }

    private static double Rate(RolloutPoint point) => point.TokensPerSecond;

    private static double DecodeRate(RolloutPoint point) => point.DecodeTokensPerSecond;

    private List<double> Of(string run, Func<RolloutPoint, double> number) => [.. _points[run].Select(number)];
}
