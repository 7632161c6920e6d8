using System.Text.Json;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Testing;

namespace Sapo.Core.Tests.Advantages;

/// <summary>Advantages against golden/objectives and against TRL's and verl's own code (golden/losses).</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenAdvantageTests
{
    /// <summary>Both sides compute in float64; a standard deviation of nearly equal rewards loses some digits.</summary>
    private const double Tolerance = 1e-9;

    [Fact]
    public void Estimate_EveryCaseOfTheSpecification_Matches()
    {
        var count = new GoldenCount("advantages of the specification");
        foreach (JsonElement item in GoldenJson.Read("objectives", "fixture.json").GetProperty("advantages").EnumerateArray())
        {
            (AdvantageOptions? options, string? reason) = Specification(item.GetProperty("options"));
            if (options is null)
            {
                count.Excluded(reason!);
                continue;
            }
            AdvantageResult result = AdvantageRegistry.Create(options).Estimate(Input(item));
            bool perToken = options.Estimator.StartsWith("reinforce++", StringComparison.Ordinal);
            double[] found = !perToken ? [.. result.Sequence.SelectMany(group => group)]
                : result.Tokens is { } tokens ? [.. tokens.SelectMany(group => group).SelectMany(completion => completion)]
                : Repeat([.. result.Sequence.SelectMany(group => group)], item.GetProperty("inputs").GetProperty("lengths").Flat());
            AssertClose(item.GetProperty("name").GetString()!, item.GetProperty("advantages").Flat(), found);
            count.Compared(options.Estimator);
        }
        count.Report();
    }

    [Fact]
    public void Estimate_EveryCaseOfTrl_MatchesWhereDefinedAlike()
    {
        var count = new GoldenCount("advantages of TRL");
        foreach (JsonElement item in GoldenJson.Read("losses", "trl_advantages.json").GetProperty("cases").EnumerateArray())
        {
            (AdvantageOptions? options, string? reason) = Trl(item);
            double?[][] rewards = [.. item.GetProperty("rewards").Rows().Select(row => Array.ConvertAll(row, value => double.IsNaN(value) ? (double?)null : value))];
            if (options is not null && rewards.Any(row => row.All(value => value is null))) reason = "a completion without any reward counts as reward 0 in TRL, leaves its group here";
            if (options is null || reason is not null)
            {
                count.Excluded(reason!);
                continue;
            }
            int size = item.GetProperty("num_generations").GetInt32();
            AdvantageGroup[] groups = [.. rewards.Chunk(size).Select((group, index) => new AdvantageGroup { PromptId = $"p{index}", Rewards = group })];
            AdvantageResult result = AdvantageRegistry.Create(options).Estimate(new AdvantageInput(groups, item.GetProperty("reward_weights").Flat()));
            AssertClose(item.GetProperty("id").GetString()!, item.GetProperty("f64").GetProperty("advantages").Flat(), [.. result.Sequence.SelectMany(group => group)]);
            count.Compared(options.Estimator);
        }
        count.Report();
    }

    [Fact]
    public void Estimate_EveryCaseOfVerl_MatchesWhereDefinedAlike()
    {
        var count = new GoldenCount("advantages of verl");
        JsonElement root = GoldenJson.Read("losses", "verl_advantages.json");
        foreach (JsonElement item in root.GetProperty("cases").EnumerateArray())
        {
            var batch = new VerlBatch(root.GetProperty("batches").GetProperty(item.GetProperty("batch").GetString()!));
            (AdvantageOptions? options, string? reason) = Verl(item, batch);
            if (options is null)
            {
                count.Excluded(reason!);
                continue;
            }
            double[][] expected = item.GetProperty("f64").GetProperty("advantages").Rows();
            AdvantageResult result = AdvantageRegistry.Create(options).Estimate(batch.Input);
            double tolerance = Tolerance + (options.Estimator.StartsWith("reinforce++", StringComparison.Ordinal) ? batch.WhiteningError : 0);
            for (int row = 0; row < expected.Length; row++)
            {
                (int group, int member) = batch.PlaceOf(row);
                if (batch.Groups[group].Count == 1) continue; // verl gives A = R to groups of one, 0 here
                double[] found = result.Tokens?[group][member] ?? Enumerable.Repeat(result.Sequence[group][member], batch.Counted(row).Length).ToArray();
                bool zeroHere = batch.IsConstant(group) && options.Estimator != "reinforce++";
                AssertClose($"{item.GetProperty("id").GetString()} row {row}", zeroHere ? new double[found.Length] : [.. batch.Counted(row).Select(token => expected[row][token])], found, tolerance);
            }
            count.Compared(options.Estimator);
        }
        if (root.Find("gdpo") is { } decoupled)
            foreach (JsonElement _ in decoupled.EnumerateArray()) count.Excluded(VerlGdpo);
        count.Report();
    }

    private const string VerlGdpo = "verl's gdpo whitens per token, ours per completion as the paper and TRL";

    private static (AdvantageOptions? Options, string? Reason) Specification(JsonElement options)
    {
        string estimator = options.GetProperty("estimator").GetString()!;
        if (estimator == "reinforce++-baseline" && !options.GetProperty("zero_constant_groups").GetBoolean())
            return (null, "constant groups keep their whitened value in this reading, ours makes them exactly 0");
        double? epsilon = options.OptionalNumber("eps");
        return estimator switch
        {
            "grpo" or "espo" or "gdpo" => (new AdvantageOptions { Estimator = estimator, Epsilon = epsilon }, null),
            "drgrpo" => (new AdvantageOptions { Estimator = "dr-grpo" }, null),
            "rloo" => (new AdvantageOptions { Estimator = estimator }, null),
            "reinforce++" => (new AdvantageOptions
            {
                Estimator = estimator, KlCoefficient = options.GetProperty("beta").Number(), Gamma = options.GetProperty("gamma").Number(), WhiteningEpsilon = options.GetProperty("whiten_eps").Number(),
            }, null),
            "reinforce++-baseline" => (new AdvantageOptions { Estimator = estimator, WhiteningEpsilon = options.GetProperty("whiten_eps").Number() }, null),
            _ => (null, $"estimator {estimator} is not one of ours"),
        };
    }

    private static AdvantageInput Input(JsonElement item)
    {
        JsonElement inputs = item.GetProperty("inputs");
        bool several = inputs.Find("rewards") is not null;
        JsonElement[] groups = [.. inputs.GetProperty(several ? "rewards" : "groups").EnumerateArray()];
        double[][]? verdicts = inputs.Find("verdict")?.Rows();
        double[]? lengths = inputs.Find("lengths")?.Flat();
        double[][]? old = inputs.Find("old")?.Rows(), reference = inputs.Find("ref")?.Rows();
        var result = new List<AdvantageGroup>();
        int first = 0;
        for (int index = 0; index < groups.Length; index++)
        {
            double?[][] rewards = [.. groups[index].EnumerateArray().Select((entry, member) => several
                ? entry.EnumerateArray().Select(score => score.IsNull() ? (double?)null : score.Number()).ToArray()
                : [verdicts is not null && verdicts[index][member] == 0 ? null : entry.Number()])];
            int end = first + rewards.Length;
            result.Add(new AdvantageGroup
            {
                PromptId = $"p{index}",
                Rewards = rewards,
                Lengths = lengths is null ? null : [.. lengths[first..end].Select(length => (int)length)],
                OldLogProbs = old?[first..end],
                ReferenceLogProbs = reference?[first..end],
            });
            first = end;
        }
        return new AdvantageInput(result, item.GetProperty("options").Find("weights")?.Flat());
    }

    private static (AdvantageOptions? Options, string? Reason) Trl(JsonElement item)
    {
        const double epsilon = 1e-4; // TRL adds this to every standard deviation
        if (item.GetProperty("trainer").GetString() == "RLOOTrainer")
            return item.GetProperty("normalize_advantages").GetBoolean() ? (null, "RLOO with whitened advantages is not one of ours") : (new AdvantageOptions { Estimator = "rloo" }, null);
        if (item.GetProperty("multi_objective_aggregation").GetString() == "normalize_then_sum") return (new AdvantageOptions { Estimator = "gdpo", Epsilon = epsilon }, null);
        string scale = item.GetProperty("scale_rewards").GetString()!;
        return scale switch
        {
            "none" => (new AdvantageOptions { Estimator = "dr-grpo" }, null),
            "group" or "batch" => (new AdvantageOptions { Estimator = "grpo", Epsilon = epsilon, Scale = scale }, null),
            _ => (null, $"scale_rewards {scale} is not one of ours"),
        };
    }

    private static (AdvantageOptions? Options, string? Reason) Verl(JsonElement item, VerlBatch batch)
    {
        string estimator = item.GetProperty("estimator").GetString()!;
        JsonElement options = item.GetProperty("opt");
        switch (estimator)
        {
            case "grpo":
                return (new AdvantageOptions { Estimator = options.GetProperty("norm_adv_by_std_in_grpo").GetBoolean() ? "grpo" : "dr-grpo" }, null);
            case "rloo" or "rloo_vectorized":
                return (new AdvantageOptions { Estimator = "rloo" }, null);
            case "reinforce_plus_plus":
                return batch.IsOutcomeOnly
                    ? (new AdvantageOptions { Estimator = "reinforce++", Gamma = options.GetProperty("gamma").Number() }, null)
                    : (null, "reinforce++ with rewards before the last token, or returns cut at holes: ours takes one reward per completion");
            case "reinforce_plus_plus_baseline":
                return batch.Groups.Any(group => group.Count == 1)
                    ? (null, "verl keeps A = R in groups of one, which shifts the whitening of all others")
                    : (new AdvantageOptions { Estimator = "reinforce++-baseline" }, null);
            case "grpo_vectorized":
                return (null, "verl's vectorised GRPO computes its statistics in float32");
            case "gdpo":
                return (null, VerlGdpo);
            default:
                return (null, $"estimator {estimator} is not one of ours");
        }
    }

    private static double[] Repeat(double[] values, double[] lengths) => [.. values.SelectMany((value, index) => Enumerable.Repeat(value, (int)lengths[index]))];

    private static void AssertClose(string label, double[] expected, double[] found, double tolerance = Tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int index = 0; index < expected.Length; index++)
            Assert.True(Math.Abs(expected[index] - found[index]) <= tolerance * Math.Max(1, Math.Abs(expected[index])), $"{label}: entry {index} is {found[index]}, the reference {expected[index]}.");
    }

    /// <summary>A batch of verl's advantages: rows with token rewards and a group id each, in any order.</summary>
    private sealed class VerlBatch
    {
        private readonly double[] ids;
        private readonly bool[][] mask;
        private readonly double[][] tokenRewards;
        private readonly double[] distinct;

        public VerlBatch(JsonElement batch)
        {
            ids = batch.GetProperty("groups").Flat();
            mask = [.. batch.GetProperty("mask").EnumerateArray().Select(GoldenJson.Flags)];
            tokenRewards = batch.GetProperty("token_level_rewards").Rows();
            distinct = [.. ids.Distinct()];
            Groups = [.. distinct.Select(id => Enumerable.Range(0, ids.Length).Where(row => ids[row].Equals(id)).ToList())];
            Input = new AdvantageInput([.. Groups.Select((rows, index) => new AdvantageGroup
            {
                PromptId = $"p{index}",
                Rewards = [.. rows.Select(row => new double?[] { tokenRewards[row].Sum() })],
                Lengths = [.. rows.Select(row => Counted(row).Length)],
            })]);
        }

        public List<List<int>> Groups { get; }

        public AdvantageInput Input { get; }

        /// <summary>Whether every row's reward lies on its last counted token alone and no hole precedes it.</summary>
        public bool IsOutcomeOnly => Enumerable.Range(0, ids.Length).All(row =>
        {
            int[] counted = Counted(row);
            bool contiguous = counted.Length == 0 || counted[^1] == counted.Length - 1;
            return contiguous && tokenRewards[row].Select((reward, token) => (reward, token)).All(entry => entry.reward == 0 || counted.Length > 0 && entry.token == counted[^1]);
        });

        public int[] Counted(int row) => [.. Enumerable.Range(0, mask[row].Length).Where(token => mask[row][token])];

        public (int Group, int Member) PlaceOf(int row)
        {
            int group = Array.IndexOf(distinct, ids[row]);
            return (group, Groups[group].IndexOf(row));
        }

        /// <summary>
        /// verl divides sums by (tokens + 1e-8) before it whitens: its mean is off by mean * 1e-8 / tokens, which the division by
        /// sqrt(variance + 1e-8) then enlarges. Twice that bound.
        /// </summary>
        public double WhiteningError
        {
            get
            {
                double[] rewards = [.. tokenRewards.Select(row => row.Sum())];
                double deviation = Math.Sqrt(rewards.Select(reward => (reward - rewards.Average()) * (reward - rewards.Average())).Average() + 1e-8);
                return 2 * 1e-8 * rewards.Max(Math.Abs) / mask.Sum(row => row.Count(counted => counted)) / deviation;
            }
        }

        public bool IsConstant(int group) => Groups[group].Select(row => tokenRewards[row].Sum()).Distinct().Count() == 1;
    }
}
