using Sapo.Core;
using Sapo.Hybrid.Rollouts;
using Sapo.Learner;
using Sapo.Rollout;

namespace Sapo.Hybrid.Runs;

/// <summary>
/// Keeps the books of a run: the log's line first, then, when due, the checkpoint, then what is no longer needed is
/// removed. A process killed between two of these leaves a folder that goes on from its last checkpoint.
/// </summary>
internal sealed class StepJournal(
    RunParts run, RunLog log, Checkpoints checkpoints, IRunObserver observer, RunClock clock, CheckpointState start)
{
    private readonly PolicyTripwire _tripwire = new(run.Options.Tripwire, start.Tripwire);
    private EngineCounters _counters = run.Engine.Counters;
    private VersionComparison? _comparison;
    private SwapReport? _served;
    private CheckpointState _saved = start;
    private CheckpointState _reached = start;
    private bool _fresh;
    private bool _saidWithoutKeptIds;

    /// <summary>Looks at what is about to be trained on; what is refused is written to the rollouts folder.</summary>
    /// <exception cref="PolicyBrokenException">The policy looks broken.</exception>
    public void Examine(RolloutStep rollouts)
    {
        _served = run.Engine.LastSwap; // its first token and full speed are known by now
        _fresh = rollouts.Groups.All(group => group.Group.OldestVersion == run.Learner.Version);
        try
        {
            _comparison = _tripwire.Examine(rollouts.Sampled);
        }
        catch (PolicyBrokenException)
        {
            log.WriteRefused(rollouts.Sampled, run.Judge);
            throw;
        }
    }

    /// <summary>Looks at what was learned, before it is published. Only the version that a step trains can be held to its samples: older ones differ rightly.</summary>
    /// <exception cref="PolicyBrokenException">Engine and learner do not compute the same policy.</exception>
    public void Examine(StepReport report)
    {
        if (_fresh) _tripwire.Examine(report.Mismatch);
    }

    /// <summary>Records a finished step.</summary>
    /// <param name="step">Counted from 1.</param>
    /// <param name="rollouts">What was sampled, and trained on.</param>
    /// <param name="learned">What the learner says.</param>
    /// <param name="counters">What the engine had done when the step ended.</param>
    /// <param name="waiting">Judged groups that no step has trained on.</param>
    public StepRecord Record(long step, RolloutStep rollouts, LearnReport learned, EngineCounters counters, IReadOnlyList<ScoredGroup> waiting)
    {
        var record = ToRecord(step, rollouts, learned, counters);
        log.Write(record, rollouts.Groups, run.Judge);
        observer.StepDone(record, run.Options.Steps);
        if (learned.Preferences is { } stage)
            observer.Say($"preference stage after step {step}: {stage.Pairs:N0} pairs, loss {stage.Loss:0.000}, accuracy {stage.Accuracy:0.000}");
        SayWithoutKeptIds(record);
        _reached = new CheckpointState
        {
            Step = step,
            Version = run.Learner.Version.Value,
            NextPrompt = rollouts.Groups[^1].Group.Prompt.Id + 1,
            ElapsedSeconds = clock.ElapsedSeconds,
            SolveCounts = run.Curriculum?.Counts(),
            PreferencePairs = run.Preferences?.Pairs,
            Tripwire = _tripwire.State,
        };
        if (step % run.Options.Checkpoint.EverySteps == 0 || step == run.Options.Steps) Save(waiting);
        return record;
    }

    /// <summary>Writes a checkpoint of the last finished step, or adds to the one there is what was sampled since; for a run that is being interrupted.</summary>
    /// <param name="waiting">Judged groups that no step has trained on.</param>
    /// <returns>The step that the run will go on from.</returns>
    public long SaveReached(IReadOnlyList<ScoredGroup> waiting)
    {
        if (_reached.Step != _saved.Step) Save(waiting);
        else checkpoints.Renew(waiting);
        return _saved.Step;
    }

    // Once: metrics.jsonl has the number of every step.
    private void SayWithoutKeptIds(StepRecord record)
    {
        if (_saidWithoutKeptIds || record.Completions.WithoutKeptIds == 0) return;
        _saidWithoutKeptIds = true;
        observer.Say(
            $"warning: step {record.Step}: {record.Completions.WithoutKeptIds:N0} of {record.Completions.Count:N0} completions were left out of training, because for some token more ids were kept than engine.maxKeptIds = {run.Options.Engine.MaxKeptIds}. "
            + "Raise it, or cut more; metrics.jsonl counts them as completions.withoutKeptIds.");
    }

    private void Save(IReadOnlyList<ScoredGroup> waiting)
    {
        checkpoints.Save(_reached, run.Learner.SaveState, waiting);
        _saved = _reached;
        run.Publisher.Retain(checkpoints.Versions());
    }

    private StepRecord ToRecord(long step, RolloutStep rollouts, LearnReport learned, EngineCounters counters)
    {
        var seconds = run.Stages.TakeSeconds();
        var before = _counters;
        _counters = counters;
        return new StepRecord
        {
            Step = step,
            Version = run.Learner.Version.Value,
            Reward = Summaries.Rewards(rollouts, run.Task, run.Judge.TextOf),
            Completions = Summaries.Completions(rollouts.Groups, new PolicyVersion(run.Learner.Version.Value - 1)),
            Comparison = _comparison,
            Learner = Summaries.Learner(learned.Policy),
            Preferences = learned.Preferences,
            Probe = run.Engine.Mismatch,
            Time = new StepTime
            {
                ElapsedSeconds = clock.ElapsedSeconds,
                PhaseSeconds = seconds,
                PrecisionSeconds = run.Publisher.PrecisionSeconds,
                EngineTokensPerSecond = Rate(
                    counters.GeneratedTokens - before.GeneratedTokens, WorkSeconds(counters) - WorkSeconds(before)),
                Swap = SwapTime.Of(_served),
                LearnerTokensPerSecond = Rate(learned.Policy.ComputedTokens, seconds.GetValueOrDefault("learn")),
                ResidentBytes = Environment.WorkingSet,
            },
        };
    }

    private static double WorkSeconds(EngineCounters counters) => counters.PrefillSeconds + counters.DecodeSeconds + counters.HostSeconds;

    private static double Rate(long tokens, double seconds) => seconds > 0 ? tokens / seconds : 0;
}
