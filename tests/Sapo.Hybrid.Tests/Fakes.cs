using Sapo.Core;
using Sapo.Hybrid.Rollouts;

namespace Sapo.Hybrid.Tests;

/// <summary>Prompts, completions and groups without an engine.</summary>
internal static class Fakes
{
    public static Prompt Prompt(long number) => new() { Id = number, TokenIds = [1, 3], Text = $"prompt {number}" };

    public static Completion Completion(int index, int[] tokens, PolicyVersion version, FinishReason reason = FinishReason.Stop) => new()
    {
        SampleIndex = index,
        TokenIds = tokens,
        BehaviourLogProbs = new float[tokens.Length],
        UntruncatedLogProbs = new float[tokens.Length],
        FinishReason = reason,
        VersionSpans = [new VersionSpan(0, tokens.Length, version)],
    };

    public static RolloutGroup Group(Prompt prompt, PolicyVersion version, int size = 2) =>
        new(prompt, [.. Enumerable.Range(0, size).Select(i => Completion(i, [5, 2], version))], new SamplingOptions());

    public static RewardJudge Judge(params IReward[] rewards) => new(rewards.Length > 0 ? rewards : [new Scores(_ => RewardOutcome.Score(1))], ids => string.Join(' ', ids));

    /// <summary>A reward function from a lambda.</summary>
    public sealed class Scores(Func<RewardInput, RewardOutcome> judge) : IReward
    {
        public string Name => "scores";

        public ValueTask<RewardOutcome> JudgeAsync(RewardInput input, CancellationToken cancel) => ValueTask.FromResult(judge(input));
    }
}
