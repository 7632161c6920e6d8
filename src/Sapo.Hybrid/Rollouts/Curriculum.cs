using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;

namespace Sapo.Hybrid.Rollouts;

/// <summary>How often a problem's completions were solved so far.</summary>
/// <param name="Judged">Completions with a reward.</param>
/// <param name="Solved">Those of them that were solved.</param>
public sealed record SolveCount(int Judged, int Solved)
{
    /// <summary>The share solved, as if one completion more had been solved and one more not: 0.5 for a problem not asked yet.</summary>
    public double Rate => (Solved + 1.0) / (Judged + 2);
}

/// <summary>
/// Chooses problems by how often they were solved: prompt n is the one of the task's prompts n k ... n k + k - 1 whose solve rate is
/// nearest to the target. A choice depends on n and on the counts alone, and the counts move only between steps, so that a
/// synchronous run makes the same choices when it is resumed. Thread-safe: prompts are chosen while the learner works.
/// </summary>
public sealed class Curriculum
{
    private readonly CurriculumOptions _options;
    private readonly ITrainingTask _task;
    private readonly Lock _gate = new();
    private readonly Dictionary<long, SolveCount> _counts;

    /// <summary>A curriculum over a task.</summary>
    /// <param name="options">Section <c>curriculum</c>.</param>
    /// <param name="task">Whose prompts are chosen from.</param>
    /// <param name="counts">Counts of an earlier part of the run, by problem.</param>
    public Curriculum(CurriculumOptions options, ITrainingTask task, IReadOnlyDictionary<long, SolveCount> counts) =>
        (_options, _task, _counts) = (options, task, new Dictionary<long, SolveCount>(counts));

    /// <summary>Prompt <paramref name="number"/> of the run; its id is the number.</summary>
    public Prompt Choose(long number)
    {
        lock (_gate)
        {
            var first = checked(number * _options.Candidates);
            var chosen = Enumerable.Range(0, _options.Candidates).Select(i => first + i).MinBy(candidate => Distance(_task.TrainingProblem(candidate)));
            return _task.TrainingPrompt(chosen) with { Id = number, Problem = _task.TrainingProblem(chosen) };
        }
    }

    /// <summary>Counts a step's completions. Call it before the next step's prompts are let in.</summary>
    public void Observe(RolloutStep step)
    {
        lock (_gate)
            foreach (var group in step.Sampled)
            {
                var problem = group.Group.Prompt.Problem ?? throw new InvalidOperationException($"Prompt {group.Group.Prompt.Id} was not chosen here.");
                double[] rewards = [.. group.Rewards.OfType<double>()];
                var before = _counts.GetValueOrDefault(problem) ?? new SolveCount(0, 0);
                _counts[problem] = new SolveCount(before.Judged + rewards.Length, before.Solved + rewards.Count(reward => reward > _options.SolvedAbove));
            }
    }

    /// <summary>A copy of the counts, by problem: what a checkpoint holds.</summary>
    public IReadOnlyDictionary<long, SolveCount> Counts()
    {
        lock (_gate) return new SortedDictionary<long, SolveCount>(_counts);
    }

    private double Distance(long problem) => Math.Abs((_counts.GetValueOrDefault(problem)?.Rate ?? 0.5) - _options.TargetSolveRate);
}
