using Sapo.Rollout.Decoding;
using Sapo.Rollout.Scheduling;
using Sapo.Rollout.Tests.Decoding;

namespace Sapo.Rollout.Tests.Scheduling;

/// <summary>A scheduler over the toy model.</summary>
internal sealed class SchedulerHarness : IAsyncDisposable
{
    public const int VocabSize = 23;
    private const int PromptRows = 3;
    private readonly RowBuffers _rows;
    private readonly FakeCache _cache;

    public SchedulerHarness(int slots, int prefillChunk = 1000, bool inFlight = false, bool recompute = false, Func<Func<int, string>>? textDecoder = null, Action<FakeDecodeSession>? prepare = null, int minimumRows = 1, bool together = false, TimeProvider? time = null)
    {
        _rows = new RowBuffers(Lane.RowsFor(slots) + PromptRows, VocabSize);
        _cache = new FakeCache(_rows.Rows);
        Session = NewSession(0, minimumRows, together);
        prepare?.Invoke(Session);
        Scheduler = new SlotScheduler(Session, _rows, new SchedulerSettings(slots, PromptRows, prefillChunk, inFlight, recompute, textDecoder), time ?? TimeProvider.System);
    }

    public FakeDecodeSession Session { get; }

    public SlotScheduler Scheduler { get; }

    public FakeDecodeSession NewSession(long version, int minimumRows = 1, bool together = false) => new(new PolicyVersion(version), _cache, _rows, VocabSize) { MinimumRows = minimumRows, StartsRowsTogether = together };

    public static Prompt Prompt(long id, params int[] tokens) => new() { Id = id, TokenIds = tokens };

    /// <summary>A prompt of pseudo-random tokens.</summary>
    public static Prompt Prompt(long id, int length) => Prompt(id, [.. Enumerable.Range(0, length).Select(i => (int)(CounterRandom.Word(99, id, 0, i) % VocabSize))]);

    public Task<RolloutGroup> Generate(Prompt prompt, int groupSize, int maxNewTokens, CancellationToken cancel = default) =>
        Generate(new GenerationRequest(prompt, groupSize, new SamplingOptions()), maxNewTokens, cancel);

    public Task<RolloutGroup> Generate(GenerationRequest request, int maxNewTokens, CancellationToken cancel = default) =>
        Scheduler.GenerateAsync(request, [.. request.Sampling.StopTokenIds ?? []], maxNewTokens, cancel);

    public async ValueTask DisposeAsync()
    {
        await Scheduler.DisposeAsync();
        _rows.Dispose();
    }
}
