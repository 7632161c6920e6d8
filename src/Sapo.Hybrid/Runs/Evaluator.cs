using Sapo.Core;
using Sapo.Core.Metrics;
using Sapo.Core.Options;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Tasks;

namespace Sapo.Hybrid.Runs;

/// <summary>Asks a policy held-out problems and counts right answers. A completion is right when its reward is at least 1.</summary>
public sealed class Evaluator
{
    private readonly Func<Prompt, int, SamplingOptions, CancellationToken, Task<RolloutGroup>> _generate;
    private readonly RewardJudge _judge;
    private readonly ITrainingTask _task;
    private readonly TimeProvider _time;

    /// <summary>An evaluator over one engine.</summary>
    /// <param name="generate">Samples a group: prompt, group size, sampling.</param>
    /// <param name="judge">Scores it.</param>
    /// <param name="task">Tells ways of solving apart.</param>
    /// <param name="time">The clock.</param>
    public Evaluator(
        Func<Prompt, int, SamplingOptions, CancellationToken, Task<RolloutGroup>> generate, RewardJudge judge, ITrainingTask task,
        TimeProvider time) =>
        (_generate, _judge, _task, _time) = (generate, judge, task, time);

    /// <summary>Asks every problem.</summary>
    /// <returns>The counts, and every judged group in the order of the problems.</returns>
    public async Task<(EvaluationResult Result, IReadOnlyList<ScoredGroup> Groups)> RunAsync(
        IReadOnlyList<Prompt> problems, EvaluationOptions options, SamplingOptions sampling, CancellationToken cancel)
    {
        var started = _time.GetTimestamp();
        sampling = sampling with { Temperature = options.Temperature };
        var groups = await Task.WhenAll(
            problems.Select(problem => AskAsync(problem, options.Samples, sampling, cancel))).ConfigureAwait(false);
        return (Count(groups, options, _time.GetElapsedTime(started).TotalSeconds), groups);
    }

    private async Task<ScoredGroup> AskAsync(Prompt problem, int samples, SamplingOptions sampling, CancellationToken cancel) =>
        await _judge.JudgeAsync(await _generate(problem, samples, sampling, cancel).ConfigureAwait(false), cancel).ConfigureAwait(false);

    private EvaluationResult Count(ScoredGroup[] groups, EvaluationOptions options, double seconds)
    {
        var right = Array.ConvertAll(groups, group => group.Rewards.Count(reward => reward >= 1));
        var rewards = groups.SelectMany(group => group.Rewards).ToArray();
        var sampled = Summaries.Completions(groups, groups[0].Group.OldestVersion);
        return new EvaluationResult
        {
            Version = groups[0].Group.OldestVersion.Value,
            Problems = groups.Length,
            Samples = options.Samples,
            Temperature = options.Temperature,
            PassAt1 = PassAt1(right, options.Samples),
            PassAtK = PassAtK.Mean([.. right.Select(count => (options.Samples, count))], options.Samples),
            MeanReward = rewards.Average() ?? 0,
            Unscored = rewards.Count(reward => reward is null),
            MeanTokens = sampled.MeanTokens,
            EndedShare = sampled.EndedShare,
            Styles = Summaries.Styles(groups, _task, _judge.TextOf),
            Seconds = seconds,
        };
    }

    /// <summary>
    /// With one sample per problem Wilson's interval; with more, the answers to one problem hang together, so the interval is
    /// that of the mean over problems.
    /// </summary>
    internal static ShareWithInterval PassAt1(int[] right, int samples)
    {
        var shares = MeanEstimate.Of(Array.ConvertAll(right, count => count / (double)samples));
        var interval = samples == 1 ? ConfidenceInterval.Wilson(right.Sum(), right.Length)
            : right.Length == 1 ? new ConfidenceInterval(0, 1) // one problem says nothing of others
            : shares.StudentInterval();
        return new ShareWithInterval(shares.Mean, Math.Max(0, interval.Low), Math.Min(1, interval.High));
    }
}
