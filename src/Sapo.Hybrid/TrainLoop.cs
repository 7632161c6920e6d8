// The one path, on one screen:
//
//   prompt -> group of G completions with log-probs -> reward -> advantage -> batch -> objective -> step -> publish -> swap
//      ^                                                                                                        |
//      '------------------------------------- Release: slots reopen --------------------------------------------'
//
// The pump samples and judges while this loop waits in TakeStepAsync; with maxStaleness above 0 it goes on sampling while
// the learner works. Everything else happens in order. A step is cancelled only while it waits for rollouts: once it
// learns, it is finished, published, swapped in, logged and, when due, checkpointed.
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Runs;
using Sapo.Learner;
using Sapo.Rollout;
using Sapo.Sync;

namespace Sapo.Hybrid;

/// <summary>Trains a policy, step by step.</summary>
internal sealed class TrainLoop(
    RunOptions options, RolloutPump pump, PolicyLearner learner, DeviceThread device, PolicyPublisher publisher, RolloutEngine engine, StallWatch stages,
    IReadOnlyList<int[]> probes, StepJournal journal)
{
    private readonly IAdvantageEstimator _advantages = AdvantageRegistry.Create(options.Advantage);

    /// <summary>Runs the steps from <paramref name="first"/> to the last.</summary>
    public async Task RunAsync(long first, CancellationToken cancel)
    {
        for (var step = first; step <= options.Steps; step++)
        {
            var groups = await stages.RunAsync("rollout", stop => pump.TakeStepAsync(learner.Version, stop), cancel, Progress).ConfigureAwait(false);
            var report = await stages.RunAsync("learn", _ => device.RunAsync(() => Learn(groups)), CancellationToken.None).ConfigureAwait(false);
            var policy = await stages.RunAsync("publish", PublishAsync, CancellationToken.None).ConfigureAwait(false);
            await stages.RunAsync("swap", stop => engine.SwapAsync(policy, stop), CancellationToken.None).ConfigureAwait(false);
            pump.Release(groups.Count);
            await stages.RunAsync("record", _ => device.RunAsync(() => journal.Record(step, groups, report)), CancellationToken.None).ConfigureAwait(false);
        }
    }

    private StepReport Learn(IReadOnlyList<ScoredGroup> groups) => learner.Step(TrainingBatch.Pack(groups, _advantages, options.Learner));

    private async Task<PublishedPolicy> PublishAsync(CancellationToken cancel)
    {
        var snapshot = await device.RunAsync(() => learner.Snapshot(probes)).ConfigureAwait(false);
        return await publisher.PublishAsync(snapshot, cancel).ConfigureAwait(false);
    }

    private (long Moves, string Stage) Progress() => (pump.Progress.Moves + engine.Counters.GeneratedTokens, pump.Progress.Stage);
}
