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
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Runs;
using Sapo.Learner;

namespace Sapo.Hybrid;

/// <summary>Trains a policy, step by step.</summary>
internal sealed class TrainLoop(RunParts run, RolloutPump pump, StepJournal journal)
{
    private readonly IAdvantageEstimator _advantages = AdvantageRegistry.Create(run.Options.Advantage);

    /// <summary>Runs the steps from <paramref name="first"/> to the last.</summary>
    public async Task RunAsync(long first, CancellationToken cancel)
    {
        for (var step = first; step <= run.Options.Steps; step++)
        {
            var groups = await run.Stages.RunAsync("rollout", stop => pump.TakeStepAsync(run.Learner.Version, stop), cancel, Progress).ConfigureAwait(false);
            var report = await run.Stages.RunAsync("learn", _ => run.Device.RunAsync(() => Learn(groups)), CancellationToken.None).ConfigureAwait(false);
            var policy = await run.Stages.RunAsync("publish", run.PublishAsync, CancellationToken.None).ConfigureAwait(false);
            await run.Stages.RunAsync("swap", stop => run.Engine.SwapAsync(policy, stop), CancellationToken.None).ConfigureAwait(false);
            pump.Release(groups.Count);
            await run.Stages.RunAsync("record", _ => run.Device.RunAsync(() => journal.Record(step, groups, report)), CancellationToken.None).ConfigureAwait(false);
        }
    }

    private StepReport Learn(IReadOnlyList<ScoredGroup> groups) => run.Learner.Step(TrainingBatch.Pack(groups, _advantages, run.Options.Learner));

    private (long Moves, string Stage) Progress() => (pump.Progress.Moves + run.Engine.Counters.GeneratedTokens, pump.Progress.Stage);
}
