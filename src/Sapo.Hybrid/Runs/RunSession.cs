// A run from an empty or unfinished folder to its report:
//
//   model -> learner -> cold start -> checkpoint 0 -> publish -> engine -> evaluate -> TrainLoop -> evaluate -> final, report
//
// Everything that has been done is recognised by what lies in the folder, so starting, going on after Ctrl-C and going on
// after kill -9 are the same path: the newest checkpoint decides where the loop begins.
using Sapo.Core;
using Sapo.Core.Machine;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;
using Sapo.Hybrid.Memory;
using Sapo.Hybrid.Preferences;
using Sapo.Hybrid.Reports;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Learner.Objectives;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Tokenization;
using Sapo.Sync;

namespace Sapo.Hybrid.Runs;

/// <summary>What a run came to.</summary>
/// <param name="Folder">Its folder.</param>
/// <param name="WasFinished">It had been finished before; nothing was done.</param>
/// <param name="Before">Evaluation before training, if the run evaluates.</param>
/// <param name="After">Evaluation after training, if the run evaluates.</param>
public sealed record RunOutcome(string Folder, bool WasFinished, EvaluationResult? Before, EvaluationResult? After);

/// <summary>Runs a run file.</summary>
public sealed class RunSession
{
    private readonly RunOptions _options;
    private readonly RunFolder _folder;
    private readonly IRunObserver _observer;
    private readonly TimeProvider _time;
    private readonly EngineTrace? _trace;
    private readonly StallWatch _stages;

    private RunSession(RunOptions options, RunFolder folder, IRunObserver observer, TimeProvider time, EngineTrace? trace) =>
        (_options, _folder, _observer, _time, _trace, _stages) = (
            options, folder, observer, time, trace, new StallWatch(TimeSpan.FromSeconds(options.StallTimeoutSeconds), time, trace));

    /// <summary>Begins or continues a run and sees it through.</summary>
    /// <param name="options">The run.</param>
    /// <param name="folder">Its folder.</param>
    /// <param name="fresh">Removes an earlier run of that folder first.</param>
    /// <param name="observer">Follows it.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancel">Interrupts it at the next step's boundary; a checkpoint is left.</param>
    /// <exception cref="UserErrorException">Something the user can mend: files, folders, options, a full disk.</exception>
    /// <exception cref="StalledException">A stage stood still.</exception>
    public static Task<RunOutcome> RunAsync(
        RunOptions options, string folder, bool fresh, IRunObserver observer, TimeProvider time, CancellationToken cancel) =>
        RunAsync(options, folder, fresh, observer, time, trace: null, cancel);

    /// <summary>The same, with the run's stages and the engine's work noted in a trace.</summary>
    /// <param name="options">The run.</param>
    /// <param name="folder">Its folder.</param>
    /// <param name="fresh">Removes an earlier run of that folder first.</param>
    /// <param name="observer">Follows it.</param>
    /// <param name="time">The clock.</param>
    /// <param name="trace">Where events are noted, or null.</param>
    /// <param name="cancel">Interrupts it at the next step's boundary; a checkpoint is left.</param>
    /// <inheritdoc cref="RunAsync(RunOptions, string, bool, IRunObserver, TimeProvider, CancellationToken)"/>
    public static async Task<RunOutcome> RunAsync(
        RunOptions options, string folder, bool fresh, IRunObserver observer, TimeProvider time, EngineTrace? trace, CancellationToken cancel)
    {
        var memory = MemoryState.Read();
        var plan = MemoryPreflight.Check(options, memory); // before the folder remembers the options
        using var opened = RunFolder.Open(folder, options, fresh);
        if (opened.State == RunFolderState.Finished)
            return new RunOutcome(opened.Path, true, EvaluationFile.Read(opened, "before"), EvaluationFile.Read(opened, "after"));
        if (memory.AvailableBytes > 0 && plan.TotalBytes > memory.AvailableBytes)
            observer.Say($"The run needs about {plan} at its peak, but only {MemoryPlan.Size(memory.AvailableBytes)} are free now: end other programs, or it may be killed.");
        try
        {
            NativeEnvironment.Prepare(ThreadBudget.ForMachine(options.WorksOverlapped()));
            await new RunSession(options, opened, observer, time, trace).RunAsync(cancel).ConfigureAwait(false);
        }
        catch (IOException failure) when (DiskFull.Is(failure))
        {
            throw DiskFull.Error(opened.Path, failure);
        }
        return new RunOutcome(opened.Path, false, EvaluationFile.Read(opened, "before"), EvaluationFile.Read(opened, "after"));
    }

    private async Task RunAsync(CancellationToken cancel)
    {
        if (_options.Rollout.ToSampling(_options.Seed).Penalises)
            _observer.Say(
                "warning: rollout has penalties: tokens are drawn from distributions that the learner does not compute, so that ratios differ from 1 even on policy and training is biased. "
                + "The reported mismatch includes them, and tripwire.mismatchNats may end the run. Sample without penalties to train.");
        ExecutionProvider.Check(_options.Engine);
        var model = FirstModel.Prepare(_options, _folder);
        var precision = PrecisionNames.Parse(_options.Engine.Precision);
        var config = ModelConfigReader.Read(model);
        if (precision != Precision.Fp32) _ = new ReducedLayout(config, precision); // refuses a model it is not for, before the cold start
        RolloutEngine.CheckFits(config, _options.Engine); // and slots that there is no room for
        var tokenizer = HuggingFaceTokenizer.Load(model);
        var task = TrainingTasks.Create(_options.Task, _options.Seed, tokenizer, model);
        var problems = task.HeldOutPrompts(_options.Evaluation.Problems); // too few are better found out now than after the cold start
        var checkpoints = new Checkpoints(_folder.Checkpoints, _options.Checkpoint.Keep);
        using var device = new DeviceThread("learner");
        var learner = await device.RunAsync(() => device.Own(LoadLearner(model))).ConfigureAwait(false);
        var start = await device.RunAsync(() => PrepareLearner(learner, task, checkpoints, cancel)).ConfigureAwait(false);
        var clock = new RunClock(_time, start.ElapsedSeconds);

        using var publisher = new PolicyPublisher(
            _folder.Policies, model, _time, _options.Engine.MaxSequenceLength, TimeSpan.FromSeconds(_options.StallTimeoutSeconds),
            precision);
        var probes = ProbeSequences.Of(task, Math.Min(_options.Engine.MaxSequenceLength ?? int.MaxValue, learner.Config.MaxPositions));
        var policy = await RunParts.PublishAsync(device, learner, publisher, probes, cancel).ConfigureAwait(false);
        if (_options.ColdStart is not null && start.Step == 0) await device.RunAsync(() => PolicyCopy.Write(policy, _folder.ColdStart, learner)).ConfigureAwait(false);
        var engine = await RolloutEngine.StartAsync(
            policy, _options.Engine, ThreadBudget.ForMachine(_options.WorksOverlapped()).EngineThreads, tokenizer,
            _trace, cancel).ConfigureAwait(false);
        await using (engine.ConfigureAwait(false))
        {
            _observer.Say($"Engine: {_options.Engine.Slots:N0} slots, {engine.Counters.MemoryText}.");
            var judge = new RewardJudge(task.Rewards, new CompletionText(tokenizer).Of);
            SayPrecision(engine);
            var run = new RunParts(
                _options, task, judge, device, learner, publisher, engine, _stages,
                _options.Curriculum is { } curriculum ? new Curriculum(curriculum, task, start.SolveCounts ?? new Dictionary<long, SolveCount>()) : null,
                _options.Preferences is { } preferences ? new PreferenceStage(preferences, _options.Steps, learner, judge.TextOf, start.PreferencePairs ?? []) : null,
                probes);
            await EvaluateAsync("before", problems, run, cancel).ConfigureAwait(false);
            using (var log = new RunLog(_folder, _options.Log, start.Step, _time))
                await TrainAsync(run, checkpoints, start, new StepJournal(run, log, checkpoints, _observer, clock, start), cancel).ConfigureAwait(false);
            await EvaluateAsync("after", problems, run, cancel).ConfigureAwait(false);
            var last = PublishedPolicy.Open(Path.Combine(_folder.Policies, engine.ActiveVersion.ToString()));
            await device.RunAsync(() => PolicyCopy.Write(last, _folder.Final, learner)).ConfigureAwait(false);
        }
        var report = ReportPage.Html(ReportData.Read(_folder, _options, learner.Config.ParameterCount, MachineProbe.Look(_folder.Path)));
        AtomicFile.WriteAllBytes(_folder.Report, System.Text.Encoding.UTF8.GetBytes(report));
    }

    /// <summary>Below 32 bits the sampler is another policy than the learner's: says how far off, and what takes it into account.</summary>
    private void SayPrecision(RolloutEngine engine)
    {
        if (_options.Engine.Precision == Precision.Fp32.Name() || engine.Mismatch is not { } mismatch) return;
        _observer.Say(new PrecisionReport(_options.Engine.Precision, "the learner", mismatch).ToString());
        if (_options.Objective.Correction is null || _options.Learner.Anchor != LearnerOptions.RecomputedAnchor)
            _observer.Say(
                "warning: completions are sampled from rounded weights. With learner.anchor \"behaviour\" every ratio contains the rounding; "
                + "learner.anchor \"recomputed\" with objective.correction {} separates the two: clipping sees the policy's change, a truncated weight the rounding.");
    }

    private PolicyLearner LoadLearner(string model) =>
        new(
            new PolicySource(model) { AdapterFolder = _options.Model.Adapter, ReferenceFolder = _options.Objective.Kl?.Reference, Seed = _options.Seed },
            _options.Learner, ObjectiveRegistry.Create(_options.Objective, ModelConfigReader.Read(model).VocabSize), totalBatches: _options.Steps);

    /// <summary>Takes the learner to where the run stands: its newest checkpoint, or through the cold start to checkpoint 0.</summary>
    private CheckpointState PrepareLearner(PolicyLearner learner, ITrainingTask task, Checkpoints checkpoints, CancellationToken cancel)
    {
        var newest = checkpoints.Newest();
        if (newest is { State.ColdStart: null } reached)
        {
            learner.RestoreState(reached.Folder);
            _observer.Say($"Continuing an interrupted run after step {reached.State.Step} of {_options.Steps}.");
            return reached.State;
        }
        var clock = new RunClock(_time, newest?.State.ElapsedSeconds ?? 0);
        if (_options.ColdStart is { } coldStart)
            new ColdStart(coldStart, _options.Learner.RouterBalance, task.Example, learner, _folder, checkpoints, _observer, _time).Run(newest, clock, cancel);
        var state = new CheckpointState
        {
            Step = 0,
            Version = 0,
            NextPrompt = 0,
            ElapsedSeconds = clock.ElapsedSeconds,
        };
        checkpoints.Save(state, learner.SaveState);
        return state;
    }

    private async Task TrainAsync(RunParts run, Checkpoints checkpoints, CheckpointState start, StepJournal journal, CancellationToken cancel)
    {
        var sampling = _options.Rollout.ToSampling(_options.Seed);
        var numbers = new PumpOptions
        {
            PromptsPerStep = _options.Rollout.PromptsPerStep,
            MaxStaleness = _options.MaxStaleness,
            ExactStaleness = _options.ExactStaleness,
            FirstPrompt = start.NextPrompt,
            Groups = (_options.Steps - start.Step) * _options.Rollout.PromptsPerStep,
        };
        var known = checkpoints.Newest() is { } newest ? Checkpoints.Waiting(newest.Folder, sampling) : [];
        var pump = new RolloutPump(
            numbers, run.Curriculum is { } curriculum ? curriculum.Choose : run.Task.TrainingPrompt,
            (prompt, stop) => run.Engine.GenerateAsync(prompt, _options.Rollout.GroupSize, sampling, stop), run.Judge,
            new GroupSelector(_options.Selection, _options.Rollout.PromptsPerStep), known);
        var learn = new LearnStage(_options, run.Learner, run.Preferences);
        await using (pump.ConfigureAwait(false))
        {
            try
            {
                await new TrainLoop(run, pump, learn, journal).RunAsync(start.Step + 1, cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                var saved = await run.Device.RunAsync(() => journal.SaveReached(pump.Untrained())).ConfigureAwait(false);
                _observer.Say($"Interrupted: step {saved} of {_options.Steps} is saved in {_folder.Path}.");
                throw;
            }
        }
    }

    private async Task EvaluateAsync(string when, IReadOnlyList<Prompt> problems, RunParts run, CancellationToken cancel)
    {
        if (problems.Count == 0 || EvaluationFile.Read(_folder, when) is not null) return;
        var evaluator = new Evaluator(
            (prompt, samples, sampling, stop) => run.Engine.GenerateAsync(prompt, samples, sampling, stop), run.Judge, run.Task, _time);
        var (result, groups) = await _stages.RunAsync(
            "evaluation", stop => evaluator.RunAsync(
                problems, _options.Evaluation, _options.Rollout.ToSampling(_options.Seed), stop), cancel,
            () => (run.Engine.Counters.GeneratedTokens, "evaluation")).ConfigureAwait(false);
        _stages.TakeSeconds(); // an evaluation is no phase of a step
        RolloutLines.Write(_folder.RolloutFile(when), groups, run.Judge);
        EvaluationFile.Write(_folder, when, result);
        _observer.Evaluated(when, result);
    }
}
