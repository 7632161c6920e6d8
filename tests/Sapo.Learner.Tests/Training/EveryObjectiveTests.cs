using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Advantages;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Model;
using Sapo.Learner.Tests.Objectives;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>Every objective through the learner: a step that moves the weights, with the gradient that its loss has.</summary>
public sealed class EveryObjectiveTests
{
    /// <summary>Central differences of step 1e-5 in float64: truncation about 1e-10, rounding about 1e-11, times the size of the gradient.</summary>
    private const double DifferenceTolerance = 1e-6;

    private const double Step = 1e-5;

    /// <summary>Small enough that CAPO keeps most tokens of a random model.</summary>
    private const double LearningRate = 1e-4;

    private static readonly GroupAdvantage Advantages = new("grpo", AdvantageScale.Group, 1e-6);

    /// <summary>Every name of the catalog, and every choice around it that changes what flows through the model.</summary>
    private static readonly Dictionary<string, ObjectiveOptions> Cases = ObjectiveCatalog.All.Select(entry => (entry.Name, Options: RandomBatches.OptionsOf(entry.Name))).Concat(new (string Name, ObjectiveOptions Options)[]
    {
        ("dppo, topk-tv", RandomBatches.OptionsOf("dppo") with { Divergence = "topk-tv", TopK = 5, DeltaLow = 0.01, DeltaHigh = 0.01 }),
        ("dppo, topk-kl", RandomBatches.OptionsOf("dppo") with { Divergence = "topk-kl", TopK = 5, IncludeSampledToken = true, DeltaLow = 1e-3, DeltaHigh = 1e-3 }),
        ("capo, sgd", RandomBatches.OptionsOf("capo") with { CurvatureOptimizer = "sgd" }),
        ("sapo, entropy bonus", new ObjectiveOptions { EntropyBonus = new EntropyBonusOptions { Coefficient = 0.1 } }),
        ("sapo, kl", new ObjectiveOptions { Kl = new KlOptions { Beta = 0.1 } }),
        ("sapo, off-policy mask", new ObjectiveOptions { OffPolicyThreshold = 1e-3 }),
        ("sapo, top entropy", new ObjectiveOptions { TopEntropyFraction = 0.5 }),
        ("sapo, corrected", new ObjectiveOptions { Correction = new CorrectionOptions { Low = 0.99, High = 1.01, Normalise = true } }),
    }).ToDictionary(pair => pair.Name, pair => pair.Options, StringComparer.Ordinal);

    public static TheoryData<string> CaseNames => [.. Cases.Keys];

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Step_EveryObjective_ReportsAFiniteValueAndMovesTheWeights(string name) => Train(name, LearnerFor(Cases[name]) with { MiniBatches = 2 });

    [Theory]
    [InlineData("guard-text")]
    [InlineData("dppo, topk-tv")]
    [InlineData("capo")]
    public void Step_WholeDistributionsInBfloat16_ReportsAFiniteValueAndMovesTheWeights(string name) =>
        Train(name, LearnerFor(Cases[name]) with { MiniBatches = 2, Dtype = LearnerOptions.Bfloat16Dtype, ActivationCheckpointing = true });

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Step_EveryObjective_GradientIsTheLossesDerivativeThroughTheModel(string name)
    {
        using var setting = new Setting(Cases[name]);
        setting.RunOneStep();
        foreach (var parameter in setting.LargestGradients(count: 4).Concat([7, 301, 950]))
        {
            Near(setting.Gradient[parameter], setting.Difference(parameter, setting.LinearLoss), $"{name}, parameter {parameter}, through the closed form");
            if (HasDifferentiableValue(name)) Near(setting.Gradient[parameter], setting.Difference(parameter, setting.Loss), $"{name}, parameter {parameter}, through the value");
        }
    }

    /// <summary>Two steps: the second one has moved away from its sampler, and has Adam's moments.</summary>
    private static void Train(string name, LearnerOptions options)
    {
        using var model = new TinyModel();
        using var learner = new PolicyLearner(model.Folder, options, ObjectiveRegistry.Create(Cases[name], model.Config.VocabSize));
        var before = Weights(learner);
        for (var step = 0; step < 2; step++)
        {
            var report = learner.Step(TrainingBatch.Pack(Rollouts.Random(learner, 4, 4, seed: 5 + step), Advantages, options));
            Assert.True(double.IsFinite(report.Objective));
            Assert.All(report.MiniBatches, miniBatch => Assert.True(miniBatch.SkippedFor is null && miniBatch.GradientNorm > 0));
        }
        var after = Weights(learner);
        Assert.NotEqual(before, after);
        Assert.All(after, weight => Assert.True(float.IsFinite(weight)));
    }

    /// <summary>Whether J itself may be differenced: no part of it is held constant while the policy moves.</summary>
    private static bool HasDifferentiableValue(string name) => ((IEnumerable<object[]>)ObjectivePropertyTests.DifferentiableNames).Any(row => name.Split(',')[0].Equals(row[0]));

    private static LearnerOptions LearnerFor(ObjectiveOptions objective) => new()
    {
        MiniBatches = 1, LearningRate = LearningRate, MaxGradientNorm = null, MaxTokensPerMicroBatch = 40,
        Anchor = objective.Correction is null ? LearnerOptions.BehaviourAnchor : LearnerOptions.RecomputedAnchor,
    };

    private static void Near(double expected, double found, string what) =>
        Assert.True(Math.Abs(expected - found) <= DifferenceTolerance * Math.Max(1, Math.Abs(expected)), $"{what}: closed form {expected:R}, differences {found:R}");

    private static float[] Weights(PolicyLearner learner) =>
        [.. learner.Snapshot([]).Tensors.SelectMany(tensor => MemoryMarshal.Cast<byte, float>(tensor.Data.Slice(0, (int)tensor.Data.Length).Span).ToArray())];

    /// <summary>One step of a tiny model in double precision, and its loss at moved weights.</summary>
    private sealed class Setting : IDisposable
    {
        private readonly TinyModel _folder = new();
        private readonly LoadedModel _policy, _reference;
        private readonly ParameterUpdate _update;
        private readonly Recorder _objective;
        private readonly PolicyStep _step;
        private readonly TrainingBatch _batch;
        private readonly TrainingRow[] _rows;
        private double[] _start = [];

        public Setting(ObjectiveOptions objective)
        {
            var options = LearnerFor(objective);
            _policy = new LoadedModel(_folder.Folder, ScalarType.Float64);
            _reference = new LoadedModel(_folder.Folder, ScalarType.Float64);
            _reference.Parameters.Values.mul_(1.01); // a reference at the policy itself would have no gradient
            _update = new ParameterUpdate(_policy.Parameters, AdamWOptions.From(options));
            _objective = new Recorder(ObjectiveRegistry.Create(objective, _policy.Model.Config.VocabSize));
            _step = new PolicyStep(_policy.Model, _objective.Needs.HasFlag(ObjectiveNeeds.ReferencePolicy) ? _reference.Model : null, _objective, _update, options, CPU);
            using var sampler = new PolicyLearner(_folder.Folder, options, ObjectiveRegistry.Create(new ObjectiveOptions(), _policy.Model.Config.VocabSize));
            _batch = TrainingBatch.Pack(Rollouts.Random(sampler, 3, 4, seed: 5), Advantages, options);
            _rows = _batch.MiniBatches[0].Computed(_objective.Needs.HasFlag(ObjectiveNeeds.SilentRows));
        }

        /// <summary>dLoss/dparameter, got back from the optimizer: its first moment is (1 - beta1) times the gradient.</summary>
        public double[] Gradient { get; private set; } = [];

        public void RunOneStep()
        {
            _start = HostArrays.Double(_policy.Parameters.Values);
            var state = _objective.State;
            _step.Run(_batch, LearningRate, default);
            if (state.Count > 0) _objective.Restore(state); // the loss is that of before the step, a dual variable included
            Gradient = Array.ConvertAll(HostArrays.Double(_update.Optimizer.FirstMoment), moment => moment / (1 - _update.Optimizer.Options.Beta1));
        }

        public IEnumerable<int> LargestGradients(int count) => Enumerable.Range(0, Gradient.Length).OrderByDescending(index => Math.Abs(Gradient[index])).Take(count);

        /// <summary>-J at given log-probs and entropies.</summary>
        public double Loss(double[] logProbs, double[] entropies)
        {
            double loss = 0;
            var start = 0;
            foreach (var (batch, _) in _objective.Calls)
            {
                var end = start + batch.TokenCount;
                loss -= _objective.EvaluateUnseen(batch with { LogProbs = logProbs[start..end], Entropies = entropies[start..end] }).Value;
                start = end;
            }
            return loss;
        }

        /// <summary>-(sum of dJ/dl l + dJ/dH H), the slopes held constant: what the backward pass starts from.</summary>
        public double LinearLoss(double[] logProbs, double[] entropies)
        {
            var slopes = _objective.Calls.SelectMany(call => call.Result.Gradient);
            var entropySlopes = _objective.Calls.SelectMany(call => call.Result.EntropyGradient ?? new double[call.Batch.TokenCount]);
            return -slopes.Zip(logProbs, (slope, value) => slope * value).Sum() - entropySlopes.Zip(entropies, (slope, value) => slope * value).Sum();
        }

        public double Difference(int parameter, Func<double[], double[], double> loss) => (At(parameter, Step, loss) - At(parameter, -Step, loss)) / (2 * Step);

        public void Dispose()
        {
            _update.Dispose();
            _policy.Dispose();
            _reference.Dispose();
            _folder.Dispose();
        }

        private double At(int parameter, double move, Func<double[], double[], double> loss)
        {
            using var scope = NewDisposeScope();
            double[] moved = [.. _start];
            moved[parameter] += move;
            _policy.Parameters.Values.copy_(tensor(moved));
            using var packed = MicroBatchPlan.Pack(_rows, CPU);
            var values = _policy.Model.Evaluate(packed);
            return loss(values.LogProbs, values.Entropies);
        }
    }

    /// <summary>Remembers what an objective was asked and what it answered.</summary>
    private sealed class Recorder(IObjective inner) : ObjectiveDecorator(inner)
    {
        public List<(ObjectiveBatch Batch, ObjectiveResult Result)> Calls { get; } = [];

        public override ObjectiveResult Evaluate(ObjectiveBatch batch)
        {
            var result = base.Evaluate(batch);
            Calls.Add((batch, result));
            return result;
        }

        public ObjectiveResult EvaluateUnseen(ObjectiveBatch batch) => base.Evaluate(batch);
    }
}
