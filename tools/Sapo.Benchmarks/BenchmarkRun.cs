using Sapo.Core.Machine;
using Sapo.Hybrid.Profiling;

namespace Sapo.Benchmarks;

/// <summary>All benchmarks of one model.</summary>
/// <param name="model">The model; not owned.</param>
/// <param name="limits">What the machine can do.</param>
/// <param name="budget">Its cores.</param>
/// <param name="turns">Repetitions.</param>
/// <param name="say">Told how far it is.</param>
internal sealed class BenchmarkRun(ProfiledModel model, MachineLimits limits, ThreadBudget budget, int turns, Action<string> say)
{
    private const string Base = "16 slots", Unpacked = "16 slots, unpacked", OneThread = "16 slots, 1 thread", Alone = "16 slots, groups of 1", Wide = "64 slots";

    private static readonly RolloutWorkload Rollout = new() { Slots = 16, PromptTokens = 64, NewTokens = 32, GroupSize = 8, Rounds = 1 };
    private static readonly LearnerWorkload Learning = new() { Groups = 1, GroupSize = 8, PromptTokens = 128, NewTokens = 32, Steps = 2 };

    private readonly RolloutProfiler _engine = new(model, limits, TimeProvider.System);

    /// <summary>Runs them.</summary>
    public async Task<ModelBenchmark> RunAsync(CancellationToken cancel)
    {
        var rollouts = await RolloutsAsync(cancel);
        say($"{model.Name}: switching versions ...");
        var swap = await _engine.MeasureSwapAsync(Rollout, budget.EngineThreads, cancel);
        say($"{model.Name}: publishing ...");
        var publish = await PublishBenchmark.RunAsync(model, turns, cancel);
        say($"{model.Name}: learning ...");
        var (shared, repeated) = LearnerProfiler.Measure(model, Learning, limits, cancel);
        return new ModelBenchmark(ProfiledModelInfo.Of(model), [.. Ratios(rollouts, swap, publish, shared, repeated)], rollouts, [shared, repeated], swap, publish);
    }

    /// <summary>Every engine in turns; of each its fastest run.</summary>
    private async Task<Dictionary<string, RolloutPoint>> RolloutsAsync(CancellationToken cancel)
    {
        var runs = new List<(string Name, RolloutWorkload Workload, int Threads, bool Prepacked)>
        {
            (Base, Rollout, budget.EngineThreads, true),
            (Unpacked, Rollout, budget.EngineThreads, false),
            (Alone, Rollout with { GroupSize = 1 }, budget.EngineThreads, true),
            (Wide, Rollout with { Slots = 64 }, budget.EngineThreads, true),
        };
        if (budget.EngineThreads > 1) runs.Add((OneThread, Rollout, 1, true));
        var fastest = new Dictionary<string, RolloutPoint>(StringComparer.Ordinal);
        for (var turn = 0; turn < turns; turn++)
            foreach (var (name, workload, threads, prepacked) in runs)
            {
                say($"{model.Name}: {name}, turn {turn + 1} of {turns} ...");
                var point = await _engine.MeasureAsync(workload, threads, prepacked, cancel);
                if (!fastest.TryGetValue(name, out var best) || point.WallSeconds < best.WallSeconds) fastest[name] = point;
            }
        return fastest;
    }

    private IEnumerable<BenchmarkRatio> Ratios(Dictionary<string, RolloutPoint> rollouts, SwapTimes swap, PublishTimes publish, LearnerPoint shared, LearnerPoint repeated)
    {
        const string tokens = "tokens/s", decoded = "decoded tokens/s", milliseconds = "ms", seconds = "s", bytes = "MB/s";
        var all = rollouts[Base];
        var engineWork = $"16 slots, prompt {Rollout.PromptTokens}, {Rollout.NewTokens} new, groups of {Rollout.GroupSize}";
        var learnerWork = $"{Learning.GroupSize} completions of {Learning.NewTokens}, prompt {Learning.PromptTokens}";
        yield return BenchmarkRatio.Of("learner: shared prompt / repeated prompt", shared.TokensPerSecond, repeated.TokensPerSecond, tokens, learnerWork);
        yield return BenchmarkRatio.Of("engine: groups of 8 / groups of 1", all.TokensPerSecond, rollouts[Alone].TokensPerSecond, tokens, engineWork);
        yield return BenchmarkRatio.Of("engine: prepacked / unpacked", all.DecodeTokensPerSecond, rollouts[Unpacked].DecodeTokensPerSecond, decoded, engineWork);
        if (rollouts.TryGetValue(OneThread, out var single))
            yield return BenchmarkRatio.Of($"engine: {budget.EngineThreads} threads / 1 thread", all.DecodeTokensPerSecond, single.DecodeTokensPerSecond, decoded, engineWork);
        yield return BenchmarkRatio.Of("engine: 64 slots / 16 slots", rollouts[Wide].DecodeTokensPerSecond, all.DecodeTokensPerSecond, decoded, engineWork);
        yield return BenchmarkRatio.Of("engine: host work and copies / session runs", all.HostSeconds + all.CopySeconds, all.PrefillSeconds + all.DecodeSeconds, seconds, engineWork);
        yield return BenchmarkRatio.Of("swap: unpacked / prepacked build", swap.UnpackedBuildMilliseconds, swap.PrepackedBuildMilliseconds, milliseconds, engineWork);
        yield return BenchmarkRatio.Of("swap: first token behind / before prepacking", swap.FirstTokenMilliseconds, swap.PrepackedFirstTokenMilliseconds, milliseconds, engineWork);
        yield return BenchmarkRatio.Of("publish: a version / a plain file", publish.Bytes / publish.PublishSeconds / 1e6, publish.Bytes / publish.PlainSeconds / 1e6, bytes, "from the learner's memory to the disk");
    }
}
