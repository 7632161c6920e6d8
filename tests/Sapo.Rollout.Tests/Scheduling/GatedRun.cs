using Sapo.Rollout.Tests.Decoding;

namespace Sapo.Rollout.Tests.Scheduling;

/// <summary>Six slots with one group under way, whose decode steps wait until the test lets them go.</summary>
internal sealed class GatedRun : IAsyncDisposable
{
    private readonly SemaphoreSlim _steps = new(0), _waiting = new(0);
    private volatile bool _open;

    public GatedRun(bool inFlight, bool recompute, int groupSize = 3, params int[] stopTokens)
    {
        Harness = new SchedulerHarness(slots: 6, inFlight: inFlight, recompute: recompute, prepare: Gate);
        Early = Harness.Generate(new GenerationRequest(SchedulerHarness.Prompt(1, 4), groupSize, new SamplingOptions { StopTokenIds = stopTokens }), maxNewTokens: 20);
    }

    public SchedulerHarness Harness { get; }

    public Task<RolloutGroup> Early { get; }

    public FakeDecodeSession Successor { get; private set; } = null!;

    /// <summary>Lets some decode steps of the first session go.</summary>
    public async Task StepAsync(int count)
    {
        for (var i = 0; i < count; i++)
        {
            await _waiting.WaitAsync();
            _steps.Release();
        }
    }

    /// <summary>Waits until the next step of the first session has begun; until <see cref="Open"/> it does not end.</summary>
    public Task HoldStepAsync() => _waiting.WaitAsync();

    /// <summary>Switches during the next step of the first session.</summary>
    public async Task SwitchAsync(PolicyVersion version, Action? probe = null, Action? firstStep = null)
    {
        Successor = Harness.NewSession(version.Value);
        await HoldStepAsync();
        var switched = Harness.Scheduler.SwitchAsync(Successor, probe, firstStep, default);
        _steps.Release();
        await switched;
    }

    public void Open()
    {
        _open = true;
        _steps.Release();
    }

    public async ValueTask DisposeAsync()
    {
        Open();
        await Harness.DisposeAsync();
        _steps.Dispose();
        _waiting.Dispose();
    }

    private void Gate(FakeDecodeSession session) => session.BeforeDecode = () =>
    {
        if (_open) return;
        _waiting.Release();
        _steps.Wait();
    };
}
