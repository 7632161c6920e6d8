using Sapo.Core;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class WaitingGroupsTests
{
    private static readonly SamplingOptions Sampling = new() { TopK = 3, Seed = 9 };

    [Fact]
    public void Read_WhatWasWritten_IsTheSameToTheLastBit()
    {
        using var folder = new TemporaryFolder();
        var group = Group();
        WaitingGroups.Write(folder.Path, [group, group with { Group = group.Group with { Prompt = Fakes.Prompt(8) } }]);
        var read = WaitingGroups.Read(folder.Path, Sampling);
        Assert.Equal([7, 8], read.Select(found => found.Group.Prompt.Id));
        Assert.Equal(group.Group.Prompt.TokenIds, read[0].Group.Prompt.TokenIds);
        Assert.Equal(group.Group.Prompt, read[0].Group.Prompt with { TokenIds = group.Group.Prompt.TokenIds });
        foreach (var (expected, found) in group.Group.Completions.Zip(read[0].Group.Completions))
        {
            Assert.Equal((expected.SampleIndex, expected.FinishReason), (found.SampleIndex, found.FinishReason));
            Assert.Equal(expected.TokenIds, found.TokenIds);
            Assert.Equal(expected.BehaviourLogProbs, found.BehaviourLogProbs);
            Assert.Equal(expected.UntruncatedLogProbs, found.UntruncatedLogProbs);
            Assert.Equal(expected.KeptTokenIds, found.KeptTokenIds);
            Assert.Equal(expected.VersionSpans, found.VersionSpans);
        }
        Assert.Equal(group.Rewards, read[0].Rewards);
        Assert.Equal(group.Outcomes.Select(outcomes => outcomes.ToArray()), read[0].Outcomes.Select(outcomes => outcomes.ToArray()));
        Assert.Same(read[0].Group.Completions[1].BehaviourLogProbs, read[0].Group.Completions[1].UntruncatedLogProbs);
        Assert.Same(Sampling, read[0].Group.Sampling);
    }

    [Fact]
    public void Read_NoFile_IsNothing()
    {
        using var folder = new TemporaryFolder();
        Assert.Empty(WaitingGroups.Read(folder.Path, Sampling));
    }

    [Theory]
    [InlineData("{\"promptId\": 3")]
    [InlineData("null")]
    [InlineData("""{"promptId": 3, "promptTokenIds": [1], "completions": []}""")]
    [InlineData("""{"promptId": 3, "promptTokenIds": [1], "completions": [{"tokenIds": [4, 5], "logProbs": [-1], "finishReason": 0, "spans": [[0, 2, 0]], "outcomes": []}]}""")]
    [InlineData("""{"promptId": 3, "promptTokenIds": [1], "completions": [{"tokenIds": [4], "logProbs": [-1], "finishReason": 0, "spans": [[0, 1, 0]], "outcomes": [{"status": 0, "value": "NaN", "reason": null}]}]}""")]
    public void Read_BrokenFile_SaysThatItMayBeRemoved(string line)
    {
        using var folder = new TemporaryFolder();
        folder.File("rollouts.jsonl", line);
        var error = Assert.Throws<UserErrorException>(() => WaitingGroups.Read(folder.Path, Sampling));
        Assert.Contains("Remove the file", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Everything that a group can hold, with numbers that need all their digits.</summary>
    private static ScoredGroup Group()
    {
        var logProbs = new[] { -0.1f, -1f / 3, float.Epsilon };
        Completion[] completions =
        [
            new()
            {
                SampleIndex = 0, TokenIds = [5, 6, 2], BehaviourLogProbs = logProbs, UntruncatedLogProbs = [-0.2f, -MathF.PI, 0], KeptTokenIds = [[5, 1], [6], [2, 3, 4]],
                FinishReason = FinishReason.StopString, VersionSpans = [new VersionSpan(0, 1, new PolicyVersion(3)), new VersionSpan(1, 2, new PolicyVersion(4))],
            },
            new() { SampleIndex = 1, TokenIds = [2], BehaviourLogProbs = [-2.5e-7f], UntruncatedLogProbs = [], FinishReason = FinishReason.Stop, VersionSpans = [new VersionSpan(0, 1, new PolicyVersion(4))] },
        ];
        completions[1] = completions[1] with { UntruncatedLogProbs = completions[1].BehaviourLogProbs };
        var prompt = new Prompt { Id = 7, TokenIds = [1, 9], Text = "a \"b\"\n", Answer = "4", Problem = 12 };
        return new ScoredGroup(
            new RolloutGroup(prompt, completions, Sampling), [[RewardOutcome.Score(1.0 / 3), RewardOutcome.Abstain("too long")], [RewardOutcome.Fail("broke"), RewardOutcome.Score(0)]], [1.0 / 3, null]);
    }
}
