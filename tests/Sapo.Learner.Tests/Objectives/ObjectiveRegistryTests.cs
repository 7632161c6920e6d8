using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;

namespace Sapo.Learner.Tests.Objectives;

public sealed class ObjectiveRegistryTests
{
    private static IObjective Create(ObjectiveOptions options) => ObjectiveRegistry.Create(options, vocabularySize: 100);

    [Fact]
    public void Create_EveryEntryOfTheCatalog_GivesTheObjectiveOfThatName() =>
        Assert.All(ObjectiveCatalog.All, entry => Assert.Equal(entry.Name, Create(RandomBatches.OptionsOf(entry.Name)).Name));

    [Fact]
    public void Create_UnknownName_NamesTheNearest()
    {
        var error = Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { Name = "sappo" }));
        Assert.Contains("Did you mean \"sapo\"", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Create_KnobOfAnotherObjective_IsRefusedWithTheOwnKnobs()
    {
        var error = Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { ClipHigh = 0.2 }));
        Assert.Contains("objective.clipHigh is set, but sapo does not use it", error.Message, StringComparison.Ordinal);
        Assert.Contains("gate, tauPositive, tauNegative", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(-1.0)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void Create_TemperatureOutOfRange_IsRefused(double tau) =>
        Assert.Contains("objective.tauPositive", Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { TauPositive = tau })).Message, StringComparison.Ordinal);

    [Fact]
    public void Create_ConstantNormWithoutConstant_IsRefused() =>
        Assert.Contains("objective.normConstant", Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { Name = "dr-grpo" })).Message, StringComparison.Ordinal);

    [Fact]
    public void Create_ConstantWithAnotherAggregation_IsRefused() =>
        Assert.Contains("objective.normConstant", Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { NormConstant = 8 })).Message, StringComparison.Ordinal);

    [Fact]
    public void RequiredAnchor_DppoAndCorrection_SayWhichPolicy()
    {
        Assert.Equal(AnchorPolicy.Sampler, Create(RandomBatches.OptionsOf("dppo")).RequiredAnchor);
        Assert.Equal(AnchorPolicy.Old, Create(new ObjectiveOptions { Correction = new CorrectionOptions() }).RequiredAnchor);
        Assert.Null(Create(new ObjectiveOptions()).RequiredAnchor);
    }

    [Fact]
    public void Resolved_Defaults_AreThePapers()
    {
        ObjectiveOptions sapo = new ObjectiveOptions().Resolved();
        Assert.Equal((1.0, 1.05, "sigmoid", ObjectiveCatalog.SequenceMean), (sapo.TauPositive!.Value, sapo.TauNegative!.Value, sapo.Gate!, sapo.Aggregation!));
        ObjectiveOptions gspo = new ObjectiveOptions { Name = "gspo" }.Resolved();
        Assert.Equal((3e-4, 4e-4), (gspo.ClipLow!.Value, gspo.ClipHigh!.Value));
    }

    [Fact]
    public void State_AdaptiveEntropyAndDual_SurviveACheckpoint()
    {
        var options = new ObjectiveOptions { Name = "r2vpo", EntropyBonus = new EntropyBonusOptions { Coefficient = 0.01, Target = 5, Step = 0.002 } };
        IObjective first = Create(options), second = Create(options);
        ObjectiveBatch batch = RandomBatches.Make(3, 0.4, 4, 6);
        first.Advance(first.Evaluate(batch));
        // The batch's entropies are at most 3, below the target of 5: the coefficient rises by one step.
        Assert.Equal(0.012, first.State["entropyCoefficient"], 1e-15);
        Assert.NotEqual(0.04, first.State["lambda"]);
        second.Restore(first.State);
        Assert.Equal(first.State, second.State);
        Assert.Equal(first.Evaluate(batch).Gradient, second.Evaluate(batch).Gradient);
    }

    [Fact]
    public void Metrics_DualAndEntropyCoefficient_AreWholeOverMicroBatches()
    {
        IObjective objective = Create(new ObjectiveOptions { Name = "r2vpo", EntropyBonus = new EntropyBonusOptions { Coefficient = 0.01 } });
        ObjectiveBatch batch = RandomBatches.Make(3, 0.4, 4, 0, 6); // the second row is empty
        ObjectiveResult sum = ObjectiveResult.Sum([objective.Evaluate(batch.Slice(0, 1)), objective.Evaluate(batch.Slice(2, 1))]);
        Assert.Equal(0.01, sum.Metrics["entropyCoefficient"], 1e-15);
        Assert.Equal(0.04, sum.Metrics["lambda"], 1e-15);
    }

    [Fact]
    public void Restore_StateWithoutLambda_IsRefused() =>
        Assert.Throws<UserErrorException>(() => Create(new ObjectiveOptions { Name = "r2vpo" }).Restore(new Dictionary<string, double>(StringComparer.Ordinal)));

    [Fact]
    public void WeightCurves_EveryDrawableObjective_PassesThroughOneAtRatioOne()
    {
        foreach (string name in WeightCurves.Drawable)
            foreach (WeightCurve curve in WeightCurves.Of(RandomBatches.OptionsOf(name), smallest: 0.5, largest: 1.5, points: 3))
                Assert.Equal(1, curve.Weights[1], 1e-12);
    }
}
