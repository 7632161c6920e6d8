// The same completions in two layouts, step by step in turns, so that what else runs on the machine hits both alike:
//   shared    completions of a prompt form a group; the prompt is computed once
//   repeated  every completion is a group of its own with a prompt of its own
// Advantages come from an estimator that looks at the whole batch, so both layouts learn from every completion.
using System.Diagnostics;
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Machine;
using Sapo.Core.Options;
using Sapo.Hybrid.Memory;
using Sapo.Learner;
using Sapo.Learner.Objectives;

namespace Sapo.Hybrid.Profiling;

/// <summary>Measures learners on one model.</summary>
public static class LearnerProfiler
{
    private const string Shared = "shared", Repeated = "repeated", Host = "host";
    private static readonly AdvantageOptions WholeBatch = new() { Estimator = "reinforce++" };

    /// <summary>Measures limits and learner.</summary>
    /// <param name="model">The model; not owned.</param>
    /// <param name="workload">What is learned.</param>
    /// <param name="threads">Threads of libtorch, where it has not been loaded yet; null takes every core.</param>
    /// <param name="say">Told how far it is.</param>
    /// <param name="time">The clock of the file's date.</param>
    /// <param name="cancel">Stops between two steps.</param>
    public static LearnerProfile Profile(ProfiledModel model, LearnerWorkload workload, int? threads, Action<string> say, TimeProvider time, CancellationToken cancel)
    {
        var budget = threads ?? ThreadBudget.ForMachine(overlapped: false).LearnerThreads;
        NativeEnvironment.Prepare(new ThreadBudget(Environment.ProcessorCount, budget, budget));
        var context = ProfileContext.Look(time);
        say("Measuring what the machine can do ...");
        var limits = MachineLimits.Measure(budget);
        say($"{workload.Groups} x {workload.GroupSize} completions of {workload.NewTokens} tokens, prompt {workload.PromptTokens} ...");
        var (shared, repeated) = Measure(model, workload, limits, cancel);
        return new LearnerProfile(context, limits, ProfiledModelInfo.Of(model), workload, shared, repeated);
    }

    /// <summary>Times both layouts.</summary>
    /// <param name="model">The model; not owned.</param>
    /// <param name="workload">What is learned.</param>
    /// <param name="limits">The machine's, for shares.</param>
    /// <param name="cancel">Stops between two steps.</param>
    /// <exception cref="UserErrorException">A value is out of range, or the sequences are too long for the model.</exception>
    public static (LearnerPoint Shared, LearnerPoint Repeated) Measure(ProfiledModel model, LearnerWorkload workload, MachineLimits limits, CancellationToken cancel)
    {
        CheckFit(model, workload.Validated());
        var before = ProcessMemory.Resident();
        var options = workload.ToOptions();
        using var learner = new PolicyLearner(model.Folder, options, ObjectiveRegistry.Create(new ObjectiveOptions(), model.Config.VocabSize));
        var groups = Completions(learner, workload);
        var layouts = new[] { (Name: Shared, Shares: true), (Name: Repeated, Shares: false) }
            .Select(layout => (layout.Name, Batch: Pack(groups, workload, layout.Shares), Steps: new List<TimedStep>())).ToArray();
        var peaks = layouts.ToDictionary(layout => layout.Name, layout => PeakOf(learner, layout.Batch), StringComparer.Ordinal);
        for (var step = 0; step < workload.Steps; step++)
            foreach (var layout in layouts)
            {
                cancel.ThrowIfCancellationRequested();
                layout.Steps.Add(TimedStep.Of(learner, layout.Batch));
            }
        var points = Array.ConvertAll(layouts, layout =>
        {
            var predicted = LearnerFootprint.Of(model.Config, options, workload.ToShape(shared: layout.Name == Shared));
            return PointOf(layout.Name, layout.Steps, limits, new LearnerMemory(
                before, predicted.WeightBytes, predicted.GradientBytes, predicted.MomentBytes, peaks[layout.Name], MemoryPlan.Of(predicted, before)));
        });
        return (points[0], points[1]);
    }

    /// <summary>Made-up judged completions as a batch from which every completion teaches.</summary>
    /// <param name="learner">Gives the log-probs they pretend to have been sampled with.</param>
    /// <param name="workload">How many, of what length.</param>
    /// <param name="shared">Whether completions of a prompt form a group, or every one has a prompt of its own.</param>
    public static TrainingBatch BatchOf(PolicyLearner learner, LearnerWorkload workload, bool shared) => Pack(Completions(learner, workload), workload, shared);

    private static TrainingBatch Pack(ScoredGroup[] groups, LearnerWorkload workload, bool shared) =>
        TrainingBatch.Pack(shared ? groups : [.. groups.SelectMany(Apart)], AdvantageRegistry.Create(WholeBatch), workload.ToOptions());

    private sealed record TimedStep(StepReport Report, double Seconds)
    {
        public static TimedStep Of(PolicyLearner learner, TrainingBatch batch)
        {
            var start = Stopwatch.GetTimestamp();
            var report = learner.Step(batch);
            return new TimedStep(report, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
    }

    /// <summary>The first step of a layout: it reserves what later steps use again, and its memory is their memory.</summary>
    private static long? PeakOf(PolicyLearner learner, TrainingBatch batch)
    {
        var known = ProcessMemory.TryResetPeak();
        learner.Step(batch);
        return known ? ProcessMemory.Peak() : null;
    }

    private static LearnerPoint PointOf(string prompts, List<TimedStep> steps, MachineLimits limits, LearnerMemory memory)
    {
        var (report, seconds) = steps.MinBy(step => step.Seconds)!;
        var parts = report.Seconds.Append(new(Host, Math.Max(0, seconds - report.Seconds.Values.Sum())));
        return new LearnerPoint
        {
            Prompts = prompts,
            Tokens = report.Tokens,
            ComputedTokens = report.ComputedTokens,
            Seconds = seconds,
            Phases = [.. parts.Select(part => new LearnerPhase(part.Key, part.Value, part.Value / seconds, part.Value > 0 ? report.ComputedTokens / part.Value : 0))],
            Flops = report.Flops,
            FlopsSaved = report.FlopsSavedBySharing,
            ShareOfMatrixRate = report.Flops / seconds / limits.MatrixFlopsPerSecond,
            Memory = memory,
        };
    }

    private static ScoredGroup[] Completions(PolicyLearner learner, LearnerWorkload workload)
    {
        var groups = new ScoredGroup[workload.Groups];
        for (var group = 0; group < groups.Length; group++)
        {
            var first = group * (workload.GroupSize + 1);
            var prompt = ProfileTokens.Of(first, workload.PromptTokens, learner.Config.VocabSize);
            int[][] answers = [.. Enumerable.Range(1, workload.GroupSize).Select(sample => ProfileTokens.Of(first + sample, workload.NewTokens, learner.Config.VocabSize))];
            var logProbs = learner.LogProbs([.. answers.Select(answer => (int[])[.. prompt, .. answer])], temperature: 1);
            Completion[] completions = [.. answers.Select((answer, sample) => CompletionOf(sample, answer, logProbs[sample][prompt.Length..]))];
            groups[group] = Scored(new Prompt { Id = group, TokenIds = prompt }, completions);
        }
        return groups;
    }

    private static Completion CompletionOf(int sample, int[] tokens, float[] logProbs) => new()
    {
        SampleIndex = sample, TokenIds = tokens, BehaviourLogProbs = logProbs, UntruncatedLogProbs = logProbs,
        FinishReason = FinishReason.Length, VersionSpans = [new VersionSpan(0, tokens.Length, default)],
    };

    private static IEnumerable<ScoredGroup> Apart(ScoredGroup scored) => scored.Group.Completions.Select(completion =>
        Scored(scored.Group.Prompt with { TokenIds = [.. scored.Group.Prompt.TokenIds] }, [completion]));

    private static ScoredGroup Scored(Prompt prompt, Completion[] completions)
    {
        double[] rewards = [.. completions.Select(completion => (double)((prompt.Id + completion.SampleIndex) % 2))];
        return new ScoredGroup(
            new RolloutGroup(prompt, completions, new SamplingOptions()),
            [.. rewards.Select(reward => (IReadOnlyList<RewardOutcome>)[RewardOutcome.Score(reward)])], [.. rewards.Select(reward => (double?)reward)]);
    }

    private static void CheckFit(ProfiledModel model, LearnerWorkload workload)
    {
        var length = workload.PromptTokens + workload.NewTokens;
        if (length > model.Config.MaxPositions)
            throw new UserErrorException($"prompt and completion together are {length:N0} tokens", $"at most the model's {model.Config.MaxPositions:N0}", "Lower --prompt or --new");
    }
}
