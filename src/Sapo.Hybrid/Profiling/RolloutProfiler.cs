// Times the engine by what it counts itself: an engine is started for each workload, warmed up, given all requests at once,
// and its counters before and after are compared. Nothing runs inside the engine that does not run in training.
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout;

namespace Sapo.Hybrid.Profiling;

/// <summary>Measures rollout engines on one model.</summary>
/// <param name="model">The model; not owned.</param>
/// <param name="limits">The machine's, for shares.</param>
/// <param name="time">The clock.</param>
/// <param name="trace">Where engines note what they do, or null.</param>
public sealed class RolloutProfiler(ProfiledModel model, MachineLimits limits, TimeProvider time, EngineTrace? trace = null)
{
    private const int WarmUpTokens = 3, ProbeSequences = 2, ProbeTokens = 15; // as a training run has them
    private const int Switches = 2; // the first one compiles code; the last one is reported
    private const int StepsBeforeSwitch = 2; // then prompts are computed and every slot decodes
    private const long WarmUpPrompt = 1_000_000, SwapPrompt = 2_000_000;

    private static readonly TimeSpan Glance = TimeSpan.FromMilliseconds(2);
    private static readonly SamplingOptions ToTheEnd = new() { StopTokenIds = [] };

    /// <summary>Runs one workload.</summary>
    /// <param name="workload">What is asked.</param>
    /// <param name="threads">Threads of the engine.</param>
    /// <param name="prepack">How the engine multiplies: <see cref="EngineOptions.Prepack"/>.</param>
    /// <param name="cancel">Stops.</param>
    /// <exception cref="UserErrorException">A value is out of range, or the model or the memory is too small for it.</exception>
    public async Task<RolloutPoint> MeasureAsync(RolloutWorkload workload, int threads, string prepack, CancellationToken cancel)
    {
        CheckFit(workload.Validated());
        var options = Options(workload, swap: "drain", prepack);
        var engine = await RolloutEngine.StartAsync(model.PolicyAt(PrecisionNames.Parse(workload.Precision)), options, threads, tokenizer: null, trace, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            await WarmUpAsync(engine, workload, cancel).ConfigureAwait(false);
            var before = await SettledAsync(engine, 1, cancel).ConfigureAwait(false);
            var start = time.GetTimestamp();
            await AskAsync(engine, workload, cancel).ConfigureAwait(false);
            var seconds = time.GetElapsedTime(start).TotalSeconds;
            var after = await SettledAsync(engine, before.Completions + workload.Completions, cancel).ConfigureAwait(false);
            return RolloutPoint.Of(workload, model.Config, limits, before, after, (threads, prepack, seconds));
        }
    }

    /// <summary>Switches versions while the workload's slots decode, in each way of multiplying that this machine has.</summary>
    /// <param name="workload">Slots and lengths.</param>
    /// <param name="threads">Threads of the engine.</param>
    /// <param name="cancel">Stops.</param>
    /// <exception cref="RolloutException">A prepacked session did not take over.</exception>
    public async Task<IReadOnlyList<SwapTimes>> MeasureSwapsAsync(RolloutWorkload workload, int threads, CancellationToken cancel)
    {
        CheckFit(workload.Validated());
        var swaps = new List<SwapTimes>();
        foreach (var prepack in (string[])[.. RolloutEngine.MultipliesDirectly ? ["direct"] : Array.Empty<string>(), "behind", "before"])
        {
            var report = await SwapAsync(workload, threads, prepack, cancel).ConfigureAwait(false);
            swaps.Add(new SwapTimes
            {
                Prepack = prepack,
                BuildMilliseconds = report.BuildMilliseconds,
                ProbeMilliseconds = report.ProbeMilliseconds,
                SwitchMilliseconds = report.SwitchMilliseconds,
                PauseMilliseconds = report.PauseMilliseconds,
                ProbeDifference = report.ProbeDifference,
                FirstTokenMilliseconds = report.FirstTokenMilliseconds!.Value,
                FullSpeedMilliseconds = report.FullSpeedMilliseconds!.Value,
            });
        }
        return swaps;
    }

    /// <summary>Sweeps workloads and measures switches.</summary>
    /// <param name="model">The model; not owned.</param>
    /// <param name="workloads">At least one; the first one's slots decode during the switch, on session ort in 32 bits.</param>
    /// <param name="threads">Threads of the engine; null takes every core.</param>
    /// <param name="say">Told how far it is.</param>
    /// <param name="time">The clock.</param>
    /// <param name="trace">Where engines note what they do, or null.</param>
    /// <param name="cancel">Stops.</param>
    public static async Task<RolloutProfile> ProfileAsync(
        ProfiledModel model, IReadOnlyList<RolloutWorkload> workloads, int? threads, Action<string> say, TimeProvider time, EngineTrace? trace, CancellationToken cancel)
    {
        var budget = threads ?? ThreadBudget.ForMachine(overlapped: false).EngineThreads;
        NativeEnvironment.Prepare(new ThreadBudget(Environment.ProcessorCount, budget, budget));
        var context = ProfileContext.Look(time);
        say("Measuring what the machine can do ...");
        var limits = MachineLimits.Measure(budget);
        var profiler = new RolloutProfiler(model, limits, time, trace);
        var points = new List<RolloutPoint>();
        foreach (var workload in workloads)
        {
            say($"{workload.Session} {workload.Precision}, {workload.Validated().Slots} slots, prompt {workload.PromptTokens}, {workload.NewTokens} new ...");
            points.Add(await profiler.MeasureAsync(workload, budget, EngineOptions.Auto, cancel).ConfigureAwait(false));
        }
        say("Switching versions ...");
        var swaps = await profiler.MeasureSwapsAsync(workloads[0] with { Session = "ort", Precision = "fp32" }, budget, cancel).ConfigureAwait(false);
        return new RolloutProfile(context, limits, ProfiledModelInfo.Of(model), points, swaps);
    }

    private async Task<SwapReport> SwapAsync(RolloutWorkload workload, int threads, string prepack, CancellationToken cancel)
    {
        var engine = await RolloutEngine.StartAsync(model.Policy, Options(workload, swap: "inFlight", prepack), threads, tokenizer: null, trace, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            var probe = await ProbeAsync(engine, workload, cancel).ConfigureAwait(false);
            for (var version = 1; version <= Switches; version++) await SwitchAsync(engine, workload, Version(version, probe), prepack, cancel).ConfigureAwait(false);
            return engine.LastSwap!;
        }
    }

    private async Task SwitchAsync(RolloutEngine engine, RolloutWorkload workload, PublishedPolicy next, string prepack, CancellationToken cancel)
    {
        var decoding = engine.Counters.GeneratedTokens + (StepsBeforeSwitch * workload.Slots);
        var busy = AskAsync(engine, workload, cancel);
        while (engine.Counters.GeneratedTokens < decoding && !busy.IsCompleted) await Task.Delay(Glance, time, cancel).ConfigureAwait(false);
        await engine.SwapAsync(next, cancel).ConfigureAwait(false);
        await busy.ConfigureAwait(false);
        // Where the work was done before the switch, this is the first token after it.
        await engine.GenerateAsync(PromptOf(SwapPrompt, workload), 1, ToTheEnd with { MaxNewTokens = 1 }, cancel).ConfigureAwait(false);
        while (engine.LastSwap is not { FirstTokenMilliseconds: not null } report || (prepack == "behind" && report.FullSpeedMilliseconds is null))
        {
            if (engine.LastSwap?.FullSpeedFailure is { } failure) throw new RolloutException($"The prepacked session did not take over: {failure}");
            await Task.Delay(Glance, time, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>The same weights under a later number, with a probe: the files are read again, as those of a new version are.</summary>
    private PublishedPolicy Version(int later, IReadOnlyList<ProbeSequence> probe) =>
        model.Policy with { Manifest = model.Policy.Manifest with { Version = model.Policy.Version.Value + later, Probe = probe } };

    /// <summary>Probe sequences that the engine itself sampled: what a learner of the same weights would say of them.</summary>
    private async Task<IReadOnlyList<ProbeSequence>> ProbeAsync(RolloutEngine engine, RolloutWorkload workload, CancellationToken cancel)
    {
        var length = Math.Min(ProbeTokens, workload.NewTokens);
        var sampled = await engine.GenerateAsync(PromptOf(WarmUpPrompt, workload with { PromptTokens = 1 }), ProbeSequences, ToTheEnd with { MaxNewTokens = length }, cancel).ConfigureAwait(false);
        return [.. sampled.Completions.Select(completion => new ProbeSequence([.. sampled.Prompt.TokenIds, .. completion.TokenIds], [0, .. completion.BehaviourLogProbs]))];
    }

    private Task<RolloutGroup[]> AskAsync(RolloutEngine engine, RolloutWorkload workload, CancellationToken cancel)
    {
        var sampling = ToTheEnd with { MaxNewTokens = workload.NewTokens };
        return Task.WhenAll(Enumerable.Range(0, workload.Prompts).Select(prompt => engine.GenerateAsync(PromptOf(prompt, workload), workload.GroupSize, sampling, cancel)));
    }

    private Task<RolloutGroup> WarmUpAsync(RolloutEngine engine, RolloutWorkload workload, CancellationToken cancel) =>
        engine.GenerateAsync(PromptOf(WarmUpPrompt, workload), 1, ToTheEnd with { MaxNewTokens = Math.Min(WarmUpTokens, workload.NewTokens) }, cancel);

    /// <summary>The counters, once they include that many completions: a completion is handed over a moment before it is counted.</summary>
    private async Task<EngineCounters> SettledAsync(RolloutEngine engine, long completions, CancellationToken cancel)
    {
        while (engine.Counters.Completions < completions) await Task.Delay(Glance, time, cancel).ConfigureAwait(false);
        return engine.Counters;
    }

    private Prompt PromptOf(long id, RolloutWorkload workload) => new() { Id = id, TokenIds = ProfileTokens.Of((int)id, workload.PromptTokens, model.Config.VocabSize) };

    private static EngineOptions Options(RolloutWorkload workload, string swap, string prepack) =>
        new() { Session = workload.Session, Precision = workload.Precision, Slots = workload.Slots, MaxSequenceLength = workload.PromptTokens + workload.NewTokens, Swap = swap, Prepack = prepack };

    private void CheckFit(RolloutWorkload workload)
    {
        var length = workload.PromptTokens + workload.NewTokens;
        if (length > model.Config.MaxPositions)
            throw new UserErrorException($"prompt and completion together are {length:N0} tokens", $"at most the model's {model.Config.MaxPositions:N0}", "Lower --prompt or --new");
    }
}
