using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Memory;
using Sapo.Hybrid.Tests.Runs;

namespace Sapo.Hybrid.Tests;

public sealed class MemoryPreflightTests
{
    private static readonly ModelConfig Model = TinyRun.Options(2).Model.Create!.ToConfig(1, 2, 0);

    [Fact]
    public void Plan_PreferenceStage_AddsItsReferenceAndMoments() =>
        Assert.Equal(3 * sizeof(float) * Model.ParameterCount, Added(""" "preferences": { "everySteps": 1 } """));

    [Theory]
    [InlineData("guard-text", "", true)]
    [InlineData("dppo", """, "divergence": "topk-kl" """, true)]
    [InlineData("dppo", "", false)]
    [InlineData("capo", "", false)]
    public void Plan_ObjectiveThatComparesDistributions_AddsTheOldPolicysHead(string name, string knobs, bool compares)
    {
        const int Targets = 4 * 2 * 12; // prompts, completions of each, longest completion
        Assert.Equal(compares ? sizeof(float) * (Model.VocabSize + Targets) * Model.HiddenSize : 0, Added($"\"objective\": {{ \"name\": \"{name}\"{knobs} }}"));
    }

    [Fact]
    public void Plan_PromptsLongerThanASequenceMayBe_AreRefused()
    {
        var options = TinyRun.Options(2);
        var error = Assert.Throws<UserErrorException>(() => MemoryPreflight.Plan(options with { Engine = options.Engine with { MaxSequenceLength = 4 } }));
        Assert.Contains("at most 3: a sequence may have 4, engine.maxSequenceLength", error.Message, StringComparison.Ordinal);
    }

    private static long Added(string members) => MemoryPreflight.Plan(TinyRun.Options(2, members)).TotalBytes - MemoryPreflight.Plan(TinyRun.Options(2)).TotalBytes;
}
