// Prompts in, groups of completions with their log-probs out. The engine is four parts:
//   IPolicyLoader  published folder -> decode session (ONNX Runtime directly, or through GenAI), probed against the learner
//   PolicySlot     which version is served, and how another takes its place
//   SlotScheduler  the thread that decodes: continuous batching over fixed slots
//   RowBuffers, KeyValueCache   the native memory sessions read and write in place
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Rollout.Policies;
using Sapo.Rollout.Scheduling;
using Sapo.Rollout.Tokenization;

namespace Sapo.Rollout;

/// <summary>A rollout engine serving one policy version at a time. All members may be called from any thread.</summary>
public sealed class RolloutEngine : IAsyncDisposable
{
    private const double MemoryShare = 0.9; // of what is available; the rest is for ONNX Runtime's own buffers

    private readonly RequestCheck _check;
    private readonly IPolicyLoader _loader;
    private readonly RowBuffers _rows;
    private readonly SlotScheduler _scheduler;
    private readonly PolicySlot _slot;
    private readonly long _weightBytes;

    private RolloutEngine(RequestCheck check, IPolicyLoader loader, RowBuffers rows, SlotScheduler scheduler, PolicySlot slot, long weightBytes) =>
        (_check, _loader, _rows, _scheduler, _slot, _weightBytes) = (check, loader, rows, scheduler, slot, weightBytes);

    /// <summary>The version new completions start on.</summary>
    public PolicyVersion ActiveVersion => _slot.Active.Version;

    /// <summary>What the engine has done so far.</summary>
    public EngineCounters Counters => _scheduler.Counts.ToCounters(_loader.KeyValueBytes, _weightBytes);

    /// <summary>The last version switch, or null; a build behind it and the first token fill in their times when they are there.</summary>
    public SwapReport? LastSwap => _slot.LastSwap;

    /// <summary>How far the active version's log-probs lie from its probe sequences', which are the learner's in 32 bits; null without such sequences.</summary>
    public LogProbMismatch? Mismatch => _slot.LastSwap is { } swap ? swap.Mismatch : FirstMismatch;

    private LogProbMismatch? FirstMismatch { get; init; }

    /// <summary>Loads a policy, reserves the slots and starts the engine's thread.</summary>
    /// <param name="policy">A published or imported folder.</param>
    /// <param name="options">Slots, lengths, swapping.</param>
    /// <param name="threads">Threads of a decode step, at least 1.</param>
    /// <param name="tokenizer">For stop strings; null when requests have none.</param>
    /// <param name="cancel">Cancels the start.</param>
    /// <exception cref="UserErrorException">An option is out of range, the slots do not fit in memory, or the folder is broken.</exception>
    /// <exception cref="SwapFailedException">The policy's probe failed.</exception>
    public static Task<RolloutEngine> StartAsync(PublishedPolicy policy, EngineOptions options, int threads, HuggingFaceTokenizer? tokenizer, CancellationToken cancel) =>
        StartAsync(policy, options, threads, tokenizer, trace: null, cancel);

    /// <summary>The same, with every run and every stage of a swap noted in a trace.</summary>
    /// <param name="policy">A published or imported folder.</param>
    /// <param name="options">Slots, lengths, swapping.</param>
    /// <param name="threads">Threads of a decode step, at least 1.</param>
    /// <param name="tokenizer">For stop strings; null when requests have none.</param>
    /// <param name="trace">Where events are noted, or null.</param>
    /// <param name="cancel">Cancels the start.</param>
    /// <inheritdoc cref="StartAsync(PublishedPolicy, EngineOptions, int, HuggingFaceTokenizer, CancellationToken)"/>
    public static Task<RolloutEngine> StartAsync(PublishedPolicy policy, EngineOptions options, int threads, HuggingFaceTokenizer? tokenizer, EngineTrace? trace, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        NativeEnvironment.Prepare();
        return Task.Run(() => Start(policy, options.Validated(), threads, tokenizer, trace, TimeProvider.System), cancel);
    }

    /// <summary>Answers a prompt several times.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="groupSize">Number of completions.</param>
    /// <param name="sampling">How tokens are drawn.</param>
    /// <param name="cancel">Frees the group's slots.</param>
    /// <inheritdoc cref="GenerateAsync(GenerationRequest, CancellationToken)"/>
    public Task<RolloutGroup> GenerateAsync(Prompt prompt, int groupSize, SamplingOptions sampling, CancellationToken cancel) =>
        GenerateAsync(new GenerationRequest(prompt, groupSize, sampling), cancel);

    /// <summary>Whether this processor has the instructions for <c>engine.prepack: direct</c>.</summary>
    public static bool MultipliesDirectly => LinearKernel.IsSupported;

    /// <summary>Queues a request; many may be under way. A completion's tokens depend on the weights, the seed, the prompt id, its sample index and nothing else.</summary>
    /// <param name="request">The request.</param>
    /// <param name="cancel">Frees the group's slots.</param>
    /// <returns>The completions in order of their sample index.</returns>
    /// <exception cref="UserErrorException">The prompt or the options do not fit the model.</exception>
    /// <exception cref="RolloutException">The engine has failed.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public Task<RolloutGroup> GenerateAsync(GenerationRequest request, CancellationToken cancel)
    {
        var (stopTokenIds, maxNewTokens) = _check.Checked(request);
        return _scheduler.GenerateAsync(request, stopTokenIds, maxNewTokens, cancel);
    }

    /// <summary>Checks a prompt without generating: what this refuses, <see cref="GenerateAsync(GenerationRequest, CancellationToken)"/> refuses too.</summary>
    /// <exception cref="UserErrorException">It is empty, too long, or has ids outside the vocabulary.</exception>
    public void CheckPrompt(Prompt prompt) => _check.CheckPrompt(prompt);

    /// <summary>
    /// Makes another version the active one: loads it beside the running one, then, between two decode steps, compares it with the
    /// learner's probe and switches. On any failure the old version goes on serving.
    /// </summary>
    /// <param name="policy">Of the same model, under another version number.</param>
    /// <param name="cancel">Gives the swap up, also while it waits for an older version to drain.</param>
    /// <returns>When the new version is active.</returns>
    /// <exception cref="SwapFailedException">The new version's log-probs are not the learner's.</exception>
    /// <exception cref="UserErrorException">The folder is broken or of another model.</exception>
    /// <exception cref="TimeoutException">A phase (load, probe, switch) passed its deadline of ten minutes.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    /// <exception cref="InvalidOperationException">The version is the active one, or another swap is under way.</exception>
    public Task<SwapReport> SwapAsync(PublishedPolicy policy, CancellationToken cancel) => _slot.SwapAsync(policy, cancel);

    /// <summary>Ends the engine; what still waits or runs fails with <see cref="ObjectDisposedException"/>.</summary>
    public async ValueTask DisposeAsync()
    {
        await _slot.DisposeAsync().ConfigureAwait(false);
        await _scheduler.DisposeAsync().ConfigureAwait(false);
        _loader.Dispose();
        _rows.Dispose();
    }

    private static RolloutEngine Start(PublishedPolicy policy, EngineOptions options, int threads, HuggingFaceTokenizer? tokenizer, EngineTrace? trace, TimeProvider time)
    {
        ExecutionProvider.Check(options);
        if (!policy.Has(PrecisionNames.Parse(options.Precision)))
            throw new UserErrorException($"{policy.Folder} was not written for {options.Precision}", "a folder published or imported at that precision", "Publish or import the model with it");
        if (policy.IsStock && options.Provider == EngineOptions.CudaProvider)
            throw new UserErrorException($"{policy.Folder} is a folder of GenAI's model builder and engine.provider is cuda", "cpu, which it was built for", "Choose the other provider, or import the Hugging Face folder that it was built from");
        if (policy.IsStock && options.Session == "genai")
            throw new UserErrorException($"{policy.Folder} is a folder of GenAI's model builder and engine.session is genai", "ort, which runs its graph directly", "Choose the other session, or import the Hugging Face folder that it was built from");
        var products = MatrixProductsOf.Options(options, policy.HasDirectGraph);
        var stock = policy.IsStock ? StockModel.Load(policy, threads, prepack: products != MatrixProducts.Never) : null;
        try
        {
            return Start(policy, stock, options, products, threads, tokenizer, trace, time);
        }
        catch
        {
            stock?.Dispose();
            throw;
        }
    }

    /// <summary>Refuses slots whose keys and values do not fit into the memory that is free now; starting an engine does so, too.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">Slots and their length.</param>
    /// <exception cref="UserErrorException">They do not fit; the message says how many slots would.</exception>
    public static void CheckFits(ModelConfig config, EngineOptions options)
    {
        var positions = Positions(config, options);
        KeyValueBudget.Check(config, options, options.Session == "genai" ? GenAiDecodeSession.BatchPositions(positions) : positions, (long)(MemoryShare * MemoryState.Read().AvailableBytes));
    }

    private static int Positions(ModelConfig config, EngineOptions options) => Math.Min(options.MaxSequenceLength ?? int.MaxValue, config.MaxPositions);

    private static RolloutEngine Start(PublishedPolicy policy, StockModel? stock, EngineOptions options, MatrixProducts products, int threads, HuggingFaceTokenizer? tokenizer, EngineTrace? trace, TimeProvider time)
    {
        var config = stock?.Config ?? ModelConfigReader.Read(policy.Folder);
        var precision = PrecisionNames.Parse(options.Precision);
        var positions = Positions(config, options);
        CheckFits(config, options);
        var rows = new RowBuffers(Lane.RowsFor(options.Slots) + options.PromptRows, config.VocabSize, positions, options.MaxKeptIds);
        IPolicyLoader? loader = null;
        ILoadedPolicy? loaded = null;
        try
        {
            loader = stock is not null ? new StockPolicyLoader(stock, rows, positions)
                : options.Session == "genai" ? new GenAiPolicyLoader(config, rows, options.Slots, positions, threads, precision)
                : new OrtPolicyLoader(config, rows, positions, threads, precision, products == MatrixProducts.Direct, options.Provider);
            loaded = loader.Load(policy, prepack: products is MatrixProducts.Before or MatrixProducts.Behind);
            var (weightBytes, mismatch) = (loaded.WeightBytes, loaded.Probe(policy.Manifest.Probe));
            var settings = new SchedulerSettings(
                options.Slots, options.PromptRows, options.PrefillChunk, options.Swap == "inFlight", options.InFlightKeyValues == "recompute",
                tokenizer is null ? null : () => tokenizer.CreateStreamingDecoder(skipSpecialTokens: true).Append);
            var scheduler = new SlotScheduler(loaded.Activate(), rows, settings, time, trace);
            var slot = new PolicySlot(policy, loader, scheduler, products, time, trace);
            return new RolloutEngine(new RequestCheck(config, positions, tokenizer is not null), loader, rows, scheduler, slot, weightBytes) { FirstMismatch = mismatch };
        }
        catch
        {
            loaded?.Dispose();
            loader?.Dispose();
            rows.Dispose();
            throw;
        }
    }
}
