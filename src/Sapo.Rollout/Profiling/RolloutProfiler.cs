using System.Diagnostics;
using Sapo.Core.Models;

namespace Sapo.Rollout.Profiling;

/// <summary>Measures rollouts over a sweep of slots and lengths, on pseudo-random prompts, nothing else running.</summary>
public static class RolloutProfiler
{
    /// <summary>Profiles a model.</summary>
    /// <param name="policy">A published or imported folder.</param>
    /// <param name="options">The sweep.</param>
    /// <param name="measured">Called after each combination; may be null.</param>
    /// <param name="cancel">Ends the sweep.</param>
    /// <exception cref="UserErrorException">An option is out of range, or a combination does not fit the model or the memory.</exception>
    public static async Task<RolloutProfile> RunAsync(PublishedPolicy policy, RolloutProfileOptions options, Action<RolloutProfilePoint>? measured, CancellationToken cancel)
    {
        options = options.Validated();
        var config = ModelConfigReader.Read(policy.Folder);
        var limits = MachineLimits.Measure(options.Threads);
        var points = new List<RolloutProfilePoint>();
        SwapReport? swap = null;
        foreach (var (slots, promptLength, newTokens) in Sweep(options))
        {
            var engineOptions = options.Engine with { Slots = slots, MaxSequenceLength = promptLength + newTokens };
            var engine = await RolloutEngine.StartAsync(policy, engineOptions, options.Threads, tokenizer: null, cancel).ConfigureAwait(false);
            await using var disposal = engine.ConfigureAwait(false);
            var run = new Measurement(engine, config, limits, slots, promptLength, newTokens, promptsInSteps: options.Engine.Session == "genai");
            await run.GenerateAsync(options.GroupSize, completions: slots, firstPrompt: 0, maxNewTokens: Math.Min(newTokens, 4), cancel).ConfigureAwait(false); // warms up
            points.Add(await run.MeasureAsync(options.GroupSize, options.Rounds * slots, cancel).ConfigureAwait(false));
            measured?.Invoke(points[^1]);
            if (points.Count == Sweep(options).Count()) swap = await SwapAsync(engine, policy, run, cancel).ConfigureAwait(false);
        }
        return new RolloutProfile(config.ParameterCount, config.ParameterCount * sizeof(float), options.Threads, options.Engine.Session, limits, points, swap!);
    }

    private static IEnumerable<(int Slots, int PromptLength, int NewTokens)> Sweep(RolloutProfileOptions options) =>
        from slots in options.Slots from promptLength in options.PromptLengths from newTokens in options.NewTokens select (slots, promptLength, newTokens);

    private static async Task<SwapReport> SwapAsync(RolloutEngine engine, PublishedPolicy policy, Measurement run, CancellationToken cancel)
    {
        var next = policy with { Manifest = policy.Manifest with { Version = policy.Manifest.Version + 1 } };
        await engine.SwapAsync(next, cancel).ConfigureAwait(false);
        await run.GenerateAsync(groupSize: 1, completions: 1, firstPrompt: 0, maxNewTokens: 1, cancel).ConfigureAwait(false);
        return engine.LastSwap!;
    }

    private sealed class Measurement(RolloutEngine engine, ModelConfig config, MachineLimits limits, int slots, int promptLength, int newTokens, bool promptsInSteps)
    {
        public Task<RolloutGroup[]> GenerateAsync(int groupSize, int completions, long firstPrompt, int maxNewTokens, CancellationToken cancel) =>
            Task.WhenAll(Enumerable.Range(0, (completions + groupSize - 1) / groupSize).Select(group => engine.GenerateAsync(
                PromptOf(firstPrompt + group), Math.Min(groupSize, completions - group * groupSize), new SamplingOptions { MaxNewTokens = maxNewTokens, StopTokenIds = [] }, cancel)));

        public async Task<RolloutProfilePoint> MeasureAsync(int groupSize, int completions, CancellationToken cancel)
        {
            var before = engine.Counters;
            var start = Stopwatch.GetTimestamp();
            await GenerateAsync(groupSize, completions, firstPrompt: 1_000_000, newTokens, cancel).ConfigureAwait(false);
            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            return Point(before, engine.Counters, seconds);
        }

        private Prompt PromptOf(long id) => new()
        {
            Id = id,
            TokenIds = [.. Enumerable.Range(0, promptLength).Select(i => (int)(CounterRandom.Word(0, id, 0, i) % (uint)config.VocabSize))],
        };

        private RolloutProfilePoint Point(EngineCounters before, EngineCounters after, double seconds)
        {
            double tokens = after.GeneratedTokens - before.GeneratedTokens, steps = after.DecodeSteps - before.DecodeSteps;
            double decode = after.DecodeSeconds - before.DecodeSeconds, prefill = after.PrefillSeconds - before.PrefillSeconds;
            var positions = promptLength + newTokens / 2.0; // of a completion, on average over its tokens
            var keyValueBytesPerPosition = 2.0 * config.LayerCount * config.KeyValueHeadCount * config.CacheHeadSize * sizeof(float);
            var bytes = steps * config.ParameterCount * sizeof(float) + tokens * positions * keyValueBytesPerPosition;
            var flops = tokens * (2.0 * config.ParameterCount + 4.0 * positions * config.LayerCount * config.HeadCount * config.HeadSize);
            return new RolloutProfilePoint
            {
                Slots = slots, PromptLength = promptLength, NewTokens = newTokens,
                TokensPerSecond = tokens / seconds,
                DecodeTokensPerSecond = tokens / decode,
                PrefillTokensPerSecond = prefill > 0 && !promptsInSteps ? (after.PromptTokensComputed - before.PromptTokensComputed) / prefill : 0,
                StepMilliseconds = 1000 * decode / steps,
                PrefillShare = prefill / seconds,
                DecodeShare = decode / seconds,
                CopyShare = (after.CopySeconds - before.CopySeconds) / seconds,
                HostShare = (after.HostSeconds - before.HostSeconds) / seconds,
                SlotUtilisation = after.SlotUtilisation,
                KeyValueBytes = after.KeyValueBytes,
                ReadRateShare = bytes / decode / limits.ReadBytesPerSecond,
                ArithmeticShare = flops / decode / limits.FlopsPerSecond,
            };
        }
    }
}
