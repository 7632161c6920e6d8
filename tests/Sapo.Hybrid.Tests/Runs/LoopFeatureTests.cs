// What a run file can add to the loop, each through whole runs; what holds state also interrupted and continued.
using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class LoopFeatureTests : IClassFixture<GuessingGame>
{
    private readonly GuessingGame _game;

    public LoopFeatureTests(GuessingGame game) => _game = game;

    [Fact]
    public async Task Selection_EqualRewards_AreReplacedAndCounted()
    {
        using var folder = new TemporaryFolder();
        var records = await TinyRun.RunAsync(_game.Options(4, """ "selection": { "mostBatches": 6 } """), folder.Path);
        Assert.Contains(records, record => record.Reward.WastedShare > 0);
        Assert.Contains(records, record => record.Reward.GroupsWithoutSignal == 0);
        Assert.All(records, record => Assert.Equal(GuessingGame.PromptsPerStep * GuessingGame.GroupSize, record.Completions.Count));
        // Every prompt up to the last trained one was trained on or replaced, so the ids say how many were wasted.
        var last = Rollouts(folder, step: 1).Max(line => line.GetProperty("promptId").GetInt64());
        Assert.Equal(1 - GuessingGame.PromptsPerStep / (last + 1.0), records[0].Reward.WastedShare, 1e-12);
    }

    [Fact]
    public async Task Overlong_UnequalLengths_TeachesWhereRewardsAreEqual()
    {
        using var folder = new TemporaryFolder();
        // maxNewTokens 12 and a model that knows nothing: completions of all lengths, none of them right.
        var options = TinyRun.Options(2, rollout: "\"overlong\": { \"cache\": 12 },") with { Advantage = new AdvantageOptions { Estimator = "gdpo" } };
        var records = await TinyRun.RunAsync((options with { Model = new ModelOptions { Create = options.Model.Create! with { VocabSize = 17 } } }).Validated(), folder.Path);
        Assert.All(records, record => Assert.Equal(0, record.Reward.Mean)); // logged without the punishment
        Assert.All(records, record => Assert.True(record.Learner.GradientNorm > 0));
    }

    [Fact]
    public async Task BatchReuse_GrowsOverTheRun()
    {
        using var folder = new TemporaryFolder();
        var records = await TinyRun.RunAsync(_game.Options(3, learner: "\"batchReuse\": { \"last\": 3 },"), folder.Path);
        Assert.Equal([2, 4, 6], records.Select(record => record.Learner.MiniBatches.Count)); // two mini-batches, used 1, 2 and 3 times
    }

    [Fact]
    public async Task Preferences_EverySecondStep_TrainOnVerifiedPairsBetweenPolicySteps()
    {
        using var folder = new TemporaryFolder();
        var options = _game.Options(5, """ "preferences": { "everySteps": 2, "learningRate": 1e-3, "pairsPerUpdate": 8 } """);
        var records = await TinyRun.RunAsync(options, folder.Path);
        Assert.Equal([2, 4], records.Where(record => record.Preferences is not null).Select(record => record.Step));
        Assert.All(records.Select(record => record.Preferences).OfType<Hybrid.Preferences.PreferenceSummary>(), stage =>
        {
            Assert.True(stage.Pairs > 0 && stage.GradientNorm > 0);
            Assert.InRange(stage.Loss, 0, Math.Log(2) + 0.1); // it begins at the reference: -log sigmoid(0)
        });
        var report = await File.ReadAllTextAsync(folder.At("report.html"));
        Assert.All(["Preference stages", "Tokens held back", "Log-ratio within completions", "Log of the sequence weight"], title => Assert.Contains(title, report, StringComparison.Ordinal));
        var events = await File.ReadAllTextAsync(Assert.Single(Directory.GetFiles(folder.At("tensorboard"))), System.Text.Encoding.Latin1);
        Assert.All(["preferences/loss", "learner/miniBatches/2/diagnostics/positive/belowHalf"], tag => Assert.Contains(tag, events, StringComparison.Ordinal));
        using var without = new TemporaryFolder();
        await TinyRun.RunAsync(options with { Preferences = null }, without.Path);
        Assert.NotEqual(await File.ReadAllBytesAsync(folder.At("final", "model.safetensors")), await File.ReadAllBytesAsync(without.At("final", "model.safetensors")));
    }

    [Fact]
    public async Task EverythingWithState_InterruptedAndContinued_GivesTheSameNumbersBitForBit()
    {
        using var straight = new TemporaryFolder();
        using var interrupted = new TemporaryFolder();
        var options = _game.Options(5, """
            "objective": { "name": "r2vpo", "entropyBonus": { "coefficient": 0.01, "target": 2, "step": 0.005 }, "topEntropyFraction": 0.8 },
            "selection": { "rule": "solve-count", "mostBatches": 4 }, "curriculum": { "candidates": 3 },
            "preferences": { "everySteps": 3, "learningRate": 1e-3 }
            """, learner: "\"batchReuse\": { \"first\": 1, \"last\": 2 },");
        await TinyRun.RunAsync(options, straight.Path);
        await TinyRun.RunInterruptedAsync(options, interrupted.Path, after: 2); // one step before the preference stage: pairs are waiting

        Assert.Contains("\"solveCounts\":{\"", await File.ReadAllTextAsync(interrupted.At("checkpoints", "step-000005", "state.json")), StringComparison.Ordinal);
        Assert.Equal(TinyRun.WithoutTimes(straight.Path), TinyRun.WithoutTimes(interrupted.Path));
        Assert.Equal(await File.ReadAllBytesAsync(straight.At("final", "model.safetensors")), await File.ReadAllBytesAsync(interrupted.At("final", "model.safetensors")));
    }

    [Fact]
    public async Task SelectionAndCurriculum_Asynchronous_StayWithinTheStaleness()
    {
        using var folder = new TemporaryFolder();
        var records = await TinyRun.RunAsync(_game.Options(4, """ "maxStaleness": 2, "selection": { "mostBatches": 3 }, "curriculum": { "candidates": 2 } """), folder.Path);
        Assert.Equal(4, records.Count);
        Assert.All(records, record => Assert.InRange(record.Completions.MaxStaleness, 0, 2));
    }

    [Fact]
    public async Task Tripwire_SamplesOfOlderVersions_AreNotHeldToTheLearnersWeights()
    {
        const double Limit = 1e-8; // the same weights give 1e-10 and less
        using var folder = new TemporaryFolder();
        var records = await TinyRun.RunAsync(_game.Options(6, """ "maxStaleness": 2, "exactStaleness": true, "tripwire": { "mismatchNats": 1e-8 } """), folder.Path);
        Assert.Equal(6, records.Count);
        Assert.Contains(records, record => record.Learner.Mismatch?.KlNats > Limit);
    }

    [Fact]
    public async Task Abstentions_LeaveTheirGroupsAndTheRestTrains()
    {
        using var folder = new TemporaryFolder();
        var options = _game.Options(3, """ "objective": { "name": "espo" }, "advantage": { "estimator": "espo" }, "selection": { } """);
        options = options with { Task = (JsonlTaskOptions)options.Task with { Unanswered = "abstain" }, Rollout = options.Rollout with { MaxNewTokens = 2 } };
        var records = await TinyRun.RunAsync(options.Validated(), folder.Path);
        Assert.Contains(records, record => record.Reward.Abstentions > 0 && record.Learner.GradientNorm > 0);
        foreach (var group in Rollouts(folder, step: 1).GroupBy(line => line.GetProperty("promptId").GetInt64()))
        {
            var rewards = group.Select(line => line.GetProperty("reward")).ToArray();
            Assert.All(group, line => Assert.Equal(line.GetProperty("finishReason").GetString() == "Length", line.GetProperty("reward").ValueKind == JsonValueKind.Null));
            if (records[0].Reward.GroupsWithoutSignal == 0) Assert.Equal(2, rewards.Where(reward => reward.ValueKind == JsonValueKind.Number).Select(reward => reward.GetDouble()).Distinct().Count());
        }
    }

    [Theory]
    [InlineData("dr-grpo")]
    [InlineData("dppo")]
    public async Task NormConstant_NotGiven_IsTheLongestCompletion(string objective)
    {
        using var folder = new TemporaryFolder();
        var options = _game.Options(1, $"\"objective\": {{ \"name\": \"{objective}\" }}");
        await TinyRun.RunAsync(options, folder.Path);
        Assert.Equal(GuessingGame.MaxNewTokens, RunOptionsReader.Read(folder.At("run.json")).Objective.NormConstant);
    }

    private static JsonElement[] Rollouts(TemporaryFolder folder, int step) =>
        [.. File.ReadLines(folder.At("rollouts", $"step-{step:D6}.jsonl")).Select(line => JsonDocument.Parse(line).RootElement)];
}
