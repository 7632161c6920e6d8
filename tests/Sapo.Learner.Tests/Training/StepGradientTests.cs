using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>
/// The gradient that reaches the parameters in a whole policy step, objective, KL, entropy bonus and load balance together, against
/// central differences of the loss that the step reports; in Float64.
/// </summary>
public sealed class StepGradientTests
{
    // Central differences in Float64 with step h: error h^2 from the third derivative and 1e-16 / h from rounding.
    private const double DifferenceStep = 1e-5, DifferenceTolerance = 1e-6;

    // A micro-batch's share of a sum of some ten terms of size 1.
    private const double SplitTolerance = 1e-12;

    private static readonly AdamWOptions GradientAsMoment = new() { Beta1 = 0, MaxGradientNorm = null }; // the first moment is then the gradient itself

    public static TheoryData<string> Terms() => ["none", "entropy", "k1", "k2", "k3", "k3 token", "k3 sequence", "balance", "all", "all adapted"];

    [Theory, MemberData(nameof(Terms))]
    public void Gradient_OfEveryTerm_EqualsFiniteDifferences(string term)
    {
        using var folder = new TinyModel(Mixture());
        using var policy = new LoadedModel(folder.Folder, ScalarType.Float64, adapter: term == "all adapted" ? Adapter : null);
        using var reference = Reference();
        var gradient = Gradient(policy, reference.Model, term, maxTokens: 1000);
        var trained = policy.Weights.Trained;
        var random = new Random(2);
        foreach (var slot in trained.InCheckpointOrder)
        {
            using var scope = NewDisposeScope();
            double[] direction = [.. Enumerable.Range(0, (int)slot.Count).Select(_ => random.NextDouble() - 0.5)];
            var along = direction.Select((d, index) => d * gradient[slot.Offset + index]).Sum();
            var (values, move) = (trained.Values.narrow(0, slot.Offset, slot.Count), tensor(direction));
            values.add_(move, DifferenceStep);
            var above = Loss(policy, reference.Model, term);
            values.add_(move, -2 * DifferenceStep);
            var below = Loss(policy, reference.Model, term);
            values.add_(move, DifferenceStep);
            var difference = (above - below) / (2 * DifferenceStep);
            Assert.True(Math.Abs(along - difference) <= DifferenceTolerance * Math.Max(1, Math.Abs(along)), $"{term} {slot.Name}: {along:R} by the step, {difference:R} by differences");
        }
    }

    [Theory]
    [InlineData("entropy")]
    [InlineData("k3")]
    [InlineData("balance")]
    public void Gradient_OfATerm_IsNotThatWithoutIt(string term)
    {
        using var folder = new TinyModel(Mixture());
        using var policy = new LoadedModel(folder.Folder, ScalarType.Float64);
        using var reference = Reference();
        var (without, with) = (Gradient(policy, reference.Model, "none", 1000), Gradient(policy, reference.Model, term, 1000));
        Assert.True(without.Zip(with, (left, right) => Math.Abs(left - right)).Max() > 1e-3);
    }

    [Fact]
    public void Gradient_OfKlAndEntropy_DoesNotDependOnMicroBatches()
    {
        using var folder = new TinyModel(Mixture());
        using var policy = new LoadedModel(folder.Folder, ScalarType.Float64);
        using var reference = Reference();
        foreach (var term in new[] { "k3 token", "entropy" })
            foreach (var (whole, split) in Gradient(policy, reference.Model, term, 1000).Zip(Gradient(policy, reference.Model, term, 9)))
                Assert.Equal(whole, split, SplitTolerance);
    }

    private static ModelConfig Mixture() => TinyModel.Qwen3() with { ModelType = "qwen3_moe", Mixture = new MixtureConfig(4, 2, 8, NormalizeTopK: true, [true, false], 0.01) };

    private static LowRankAdapter Adapter(ModelConfig config)
    {
        var adapter = new LowRankAdapter(new LoraOptions { Rank = 2, Alpha = 3, TargetPattern = @".*\.(q_proj|o_proj|gate|down_proj)" }, config, ScalarType.Float64, CPU);
        var random = new Random(8);
        adapter.Parameters.Values.copy_(tensor([.. Enumerable.Range(0, (int)adapter.Parameters.Values.shape[0]).Select(_ => random.NextDouble() - 0.5)]));
        return adapter;
    }

    private static LoadedModel Reference()
    {
        using var folder = new TinyModel(seed: 12); // another architecture with the same tokens
        return new LoadedModel(folder.Folder, ScalarType.Float64);
    }

    private static ObjectiveOptions Options(string term) => new()
    {
        Kl = term switch
        {
            "k1" or "k2" or "k3" => new KlOptions { Kind = term, Beta = 0.7 },
            "k3 token" or "k3 sequence" => new KlOptions { Kind = "k3", Beta = 0.7, RatioCorrected = term[3..] },
            "all" or "all adapted" => new KlOptions { Beta = 0.4, RatioCorrected = "token" },
            _ => null,
        },
        EntropyBonus = term is "entropy" or "all" or "all adapted" ? new EntropyBonusOptions { Coefficient = 0.5 } : null,
    };

    private static double Balance(string term) => term is "balance" or "all" or "all adapted" ? 0.3 : 0;

    private static double[] Gradient(LoadedModel policy, DecoderModel reference, string term, int maxTokens)
    {
        using var update = new ParameterUpdate(policy.Weights.Trained, GradientAsMoment);
        Run(policy, reference, term, update, maxTokens);
        return HostArrays.Double(update.Optimizer.FirstMoment);
    }

    private static double Loss(LoadedModel policy, DecoderModel reference, string term)
    {
        using var update = new ParameterUpdate(policy.Weights.Trained, GradientAsMoment);
        var report = Run(policy, reference, term, update, 1000);
        return (Balance(term) * report.Metrics.GetValueOrDefault("routerBalance")) - report.Objective;
    }

    /// <summary>A step at learning rate 0: everything is computed, nothing moves.</summary>
    private static MiniBatchReport Run(LoadedModel policy, DecoderModel reference, string term, ParameterUpdate update, int maxTokens)
    {
        using var scope = NewDisposeScope();
        var options = new LearnerOptions { MaxTokensPerMicroBatch = maxTokens, RouterBalance = Balance(term) };
        var objective = ObjectiveRegistry.Create(Options(term), policy.Model.Config.VocabSize);
        var step = new PolicyStep(policy.Model, objective.Needs.HasFlag(ObjectiveNeeds.ReferencePolicy) ? reference : null, objective, update, options, CPU);
        return step.Run(new TrainingBatch([new MiniBatch(Rows())], 0), learningRate: 0, default).MiniBatches.Single();
    }

    /// <summary>Two groups with invented log-probs of the sampler, so that ratios differ from 1.</summary>
    private static TrainingRow[] Rows()
    {
        var random = new Random(3);
        int[][] prompts = [[3, 4, 5], [6, 7]];
        return [.. Enumerable.Range(0, 6).Select(index =>
        {
            int[] tokens = [.. Enumerable.Range(0, 2 + index).Select(_ => random.Next(20))];
            return new TrainingRow(
                prompts[index / 3], new TokenRow(tokens), 0.8, [.. tokens.Select(_ => (float)(-2.5 - random.NextDouble()))], [.. tokens.Select(_ => index % 2 == 0 ? 1.0 : -0.5)], Masked: false);
        })];
    }
}
