namespace Sapo.Hybrid.Tests.Runs;

/// <summary>Objectives that need more of the learner than log-probs, from the run file to the new weights.</summary>
public sealed class ObjectiveRunTests(GuessingGame game) : IClassFixture<GuessingGame>
{
    [Theory]
    [InlineData("""{ "name": "capo", "policyShiftLimit": 1, "objectiveShiftLimit": 1 }""")]
    [InlineData("""{ "name": "capo", "curvatureOptimizer": "sgd", "topK": 3 }""")]
    [InlineData("""{ "name": "guard-text" }""")]
    [InlineData("""{ "name": "dppo", "divergence": "topk-kl", "topK": 4, "includeSampledToken": true }""")]
    [InlineData("""{ "name": "dppo", "divergence": "topk-tv" }""")]
    public async Task RunAsync_ObjectiveOfWholeDistributions_Trains(string objective)
    {
        using var folder = new TemporaryFolder();
        var records = await TinyRun.RunAsync(game.Options(steps: 2, $"\"objective\": {objective}"), folder.Path);
        Assert.Equal(2, records.Count);
        Assert.All(records, record => Assert.True(double.IsFinite(record.Learner.Objective)));
        Assert.Contains(records, record => record.Learner.GradientNorm > 0);
    }
}
