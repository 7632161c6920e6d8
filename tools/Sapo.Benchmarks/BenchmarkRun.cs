using Sapo.Core.Machine;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>All benchmarks of one model.</summary>
/// <param name="model">The model; not owned.</param>
/// <param name="limits">What the machine can do.</param>
/// <param name="budget">Its cores.</param>
/// <param name="llama">llama.cpp, or null.</param>
/// <param name="turns">Repetitions.</param>
/// <param name="say">Told how far it is.</param>
internal sealed class BenchmarkRun(ProfiledModel model, MachineLimits limits, ThreadBudget budget, LlamaBenchmark? llama, int turns, Action<string> say)
{
    private static readonly LearnerWorkload Learning = new() { Groups = 1, GroupSize = 8, PromptTokens = 128, NewTokens = 32, Steps = 2 };

    private readonly RolloutBenchmarks _rollouts = new(model, limits, budget, llama, turns, say);

    /// <summary>Runs them.</summary>
    /// <param name="engineOnly">Leaves publishing and learning out.</param>
    /// <param name="cancel">Stops.</param>
    public async Task<ModelBenchmark> RunAsync(bool engineOnly, CancellationToken cancel)
    {
        var ratios = new List<BenchmarkRatio>(await _rollouts.RunAsync(cancel));
        say($"{model.Name}: switching versions ...");
        var swaps = await new RolloutProfiler(model, limits, TimeProvider.System).MeasureSwapsAsync(_rollouts.Workload, budget.EngineThreads, cancel);
        ratios.AddRange(SwapRatios(swaps));
        var benchmark = new ModelBenchmark(ProfiledModelInfo.Of(model), ratios, _rollouts.MedianPoints, [], swaps, Publish: null);
        if (engineOnly) return benchmark;
        say($"{model.Name}: publishing ...");
        var publish = await PublishBenchmark.RunAsync(model, turns, cancel);
        say($"{model.Name}: learning ...");
        var (shared, repeated) = LearnerProfiler.Measure(model, Learning, limits, cancel);
        ratios.Add(BenchmarkRatio.Of(
            "publish: a version / a plain file", publish.Bytes / publish.PublishSeconds / 1e6, publish.Bytes / publish.PlainSeconds / 1e6, "MB/s", "from the learner's memory to the disk"));
        ratios.Add(BenchmarkRatio.Of(
            "learner: shared prompt / repeated prompt", shared.TokensPerSecond, repeated.TokensPerSecond, "tokens/s", $"{Learning.GroupSize} completions of {Learning.NewTokens}, prompt {Learning.PromptTokens}"));
        return benchmark with { Learner = [shared, repeated], Publish = publish };
    }

    // The build that every way is compared with is that of a prepacked session.
    private static IEnumerable<BenchmarkRatio> SwapRatios(IReadOnlyList<SwapTimes> swaps)
    {
        const string work = "16 slots decode meanwhile", milliseconds = "ms";
        var build = swaps.First(swap => swap.Prepack == "before").BuildMilliseconds;
        foreach (var swap in swaps)
        {
            yield return BenchmarkRatio.Of($"swap {swap.Prepack}: build / prepacked build", swap.BuildMilliseconds, build, milliseconds, work);
            yield return BenchmarkRatio.Of($"swap {swap.Prepack}: first token / prepacked build", swap.FirstTokenMilliseconds, build, milliseconds, work);
            yield return BenchmarkRatio.Of($"swap {swap.Prepack}: full speed / prepacked build", [swap.FullSpeedMilliseconds], [build], milliseconds, work, "<= 1.3");
        }
    }
}
