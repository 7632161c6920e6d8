// The one path, on one screen:
//
//   prompt -> group of G completions with log-probs -> reward -> advantage -> batch -> objective -> step -> publish -> swap
//      ^                                                                                                        |
//      '------------------------------------- Release: slots reopen --------------------------------------------'
//
// The pump samples and judges while this loop waits in TakeStepAsync; with maxStaleness above 0 it goes on sampling while
// the learner works. Everything else happens in order. A step is cancelled only while it waits for rollouts: once it
// learns, it is finished, published, swapped in, logged and, when due, checkpointed.
using System.Runtime.CompilerServices;
using Sapo.Core;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Runs;
using Sapo.Learner;
using Sapo.Rollout;

namespace Sapo.Hybrid;

/// <summary>Trains a policy, step by step.</summary>
internal sealed class TrainLoop(RunParts run, RolloutPump pump, LearnStage learn, StepJournal journal)
{
    /// <summary>Runs the steps from <paramref name="first"/> to the last.</summary>
    public async Task RunAsync(long first, CancellationToken cancel)
    {
        for (var step = first; step <= run.Options.Steps; step++)
        {
            // prompt -> group -> reward: the only stage that an interruption cuts short
            RolloutStep rollouts = await run.Stages.RunAsync(
                "rollout", stop => pump.TakeStepAsync(run.Learner.Version, stop), cancel, Progress).ConfigureAwait(false);
            journal.Examine(rollouts); // garbage ends the run before it is trained on ...
            // -> advantage -> batch -> objective -> optimizer, one or more mini-batches
            LearnReport learned = await Stage("learn", _ => run.Device.RunAsync(() => learn.Learn(step, rollouts.Groups)));
            journal.Examine(learned.Policy); // ... or before it is published
            // -> one published folder, with the log-probs that an engine must reproduce
            PublishedPolicy policy = await Stage("publish", run.PublishAsync);
            // -> probed, then served: the next tokens come from the new version
            await Stage("swap", stop => run.Engine.SwapAsync(policy, stop));
            EngineCounters counters = run.Engine.Counters;
            run.Curriculum?.Observe(rollouts); // the next prompts are chosen by what was just solved
            pump.Release(rollouts.Groups.Count); // slots reopen only now: nothing is born stale
            await Stage("record", _ => run.Device.RunAsync(() => journal.Record(step, rollouts, learned, counters, pump.Untrained())));
        }
    }

    private ConfiguredTaskAwaitable<T> Stage<T>(string name, Func<CancellationToken, Task<T>> work) =>
        run.Stages.RunAsync(name, work, CancellationToken.None).ConfigureAwait(false);

    /// <summary>Tokens count as progress: one long group may take longer than the stall timeout.</summary>
    private (long Moves, string Stage) Progress() => (pump.Progress.Moves + run.Engine.Counters.GeneratedTokens, pump.Progress.Stage);
}
