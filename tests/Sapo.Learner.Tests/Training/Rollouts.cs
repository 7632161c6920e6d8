using Sapo.Core;

namespace Sapo.Learner.Tests.Training;

/// <summary>Makes judged groups without an engine: random tokens, the learner's own log-probs plus a little noise.</summary>
internal static class Rollouts
{
    /// <summary>How far the invented sampler's log-probs lie from the learner's, in nats.</summary>
    public const double SamplerNoise = 0.05;

    /// <summary>Groups of random completions, rewards 0 or 1.</summary>
    /// <param name="learner">Gives the log-probs.</param>
    /// <param name="groups">Prompts.</param>
    /// <param name="size">Completions per prompt.</param>
    /// <param name="seed">Of tokens, rewards and noise.</param>
    /// <param name="temperature">Of the invented sampler.</param>
    public static ScoredGroup[] Random(PolicyLearner learner, int groups, int size, int seed, double temperature = 1)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, groups).Select(index => Group(learner, index, Ids(random, learner, 1, 7), [.. Enumerable.Range(0, size).Select(_ => Ids(random, learner, 1, 9))], random, temperature))];
    }

    /// <summary>One group from ids, with rewards drawn, or given.</summary>
    public static ScoredGroup Group(PolicyLearner learner, long id, int[] prompt, int[][] completions, Random random, double temperature = 1, double?[]? rewards = null)
    {
        var logProbs = learner.LogProbs([.. completions.Select(completion => (int[])[.. prompt, .. completion])], temperature);
        Completion[] made = [.. completions.Select((tokens, index) => Completion(tokens, index, [.. logProbs[index][prompt.Length..].Select(l => l + (float)(SamplerNoise * (random.NextDouble() - 0.5)))]))];
        double?[] scores = rewards ?? [.. completions.Select(_ => (double?)random.Next(2))];
        return new ScoredGroup(
            new RolloutGroup(new Prompt { Id = id, TokenIds = prompt }, made, new SamplingOptions { Temperature = temperature }),
            [.. scores.Select(score => (IReadOnlyList<RewardOutcome>)[score is { } value ? RewardOutcome.Score(value) : RewardOutcome.Fail("no score")])], scores);
    }

    /// <summary>One completion that ended by itself.</summary>
    public static Completion Completion(int[] tokens, int index, float[] logProbs) => new()
    {
        SampleIndex = index, TokenIds = tokens, BehaviourLogProbs = logProbs, UntruncatedLogProbs = logProbs, FinishReason = FinishReason.Stop,
        VersionSpans = tokens.Length == 0 ? [] : [new VersionSpan(0, tokens.Length, default)],
    };

    private static int[] Ids(Random random, PolicyLearner learner, int least, int most) =>
        [.. Enumerable.Range(0, random.Next(least, most + 1)).Select(_ => random.Next(learner.Config.VocabSize))];
}
