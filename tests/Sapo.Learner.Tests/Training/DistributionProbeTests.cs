using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Model;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>
/// What the learner hands to objectives that look at whole distributions, against the definitions written out over full logits
/// of a tiny model in double precision.
/// </summary>
public sealed class DistributionProbeTests
{
    /// <summary>Float64: the same sums in another order, amplified by differences of nearly equal log-probs.</summary>
    private const double Tolerance = 1e-10;

    /// <summary>Chunks of two tokens: every loop over chunks runs several times.</summary>
    private const long TwoRows = 2 * 24 * sizeof(double);

    private const double LearningRate = 1e-2;

    private static readonly int[] Prompt = [3, 4, 9];

    /// <summary>Two completions of one prompt; the second was sampled from a truncated distribution, at another temperature than 1.</summary>
    private static readonly TrainingRow[] Rows =
    [
        new(Prompt, new TokenRow([5, 6, 7]), 0.7, [], [1.5, 1.5, 1.5], Masked: false),
        new(Prompt, new TokenRow([8, 2], [[8, 1, 5], [2, 11]]), 0.7, [], [-0.5, -0.5], Masked: false),
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(100)] // more than the vocabulary holds
    public void Look_TopK_GivesBothPoliciesAtTheOldOnesLikeliestTokens(int k)
    {
        using var setting = new Setting(new DistributionRequest(DistributionFacts.TopK, k));
        var (old, facts, current) = setting.LookAfterAnUpdate();
        for (var token = 0; token < old.Length; token++)
        {
            int[] ids = [.. Enumerable.Range(0, old[token].Length).OrderByDescending(id => old[token][id]).Take(k)];
            Near(ids.Select(id => Math.Exp(old[token][id])), facts.AnchorTopK![token]);
            var both = facts.AnchorTopK[token].Zip(facts.CurrentTopK![token]);
            Near(both.Select(pair => pair.First).Sum(), ids.Sum(id => Math.Exp(old[token][id])));
            Near(facts.CurrentTopK[token].Sum(), ids.Sum(id => Math.Exp(current[token][id])));
            Assert.Equal(ids.Contains(setting.Batch.Targets[token]), facts.SampledInTopK![token]);
        }
    }

    [Fact]
    public void Look_Divergence_IsKlAndVarianceUnderTheOldPolicy()
    {
        using var setting = new Setting(new DistributionRequest(DistributionFacts.Divergence));
        var (old, facts, current) = setting.LookAfterAnUpdate();
        for (var token = 0; token < old.Length; token++)
        {
            var moves = old[token].Zip(current[token], (q, p) => (Weight: Math.Exp(q), LogRatio: p - q)).Where(move => move.Weight > 0).ToArray();
            var mean = moves.Sum(move => move.Weight * move.LogRatio);
            Near(-mean, facts.OldToCurrentKl![token]);
            Near(moves.Sum(move => move.Weight * (move.LogRatio - mean) * (move.LogRatio - mean)), facts.LogRatioVariance![token]);
            Assert.True(facts.OldToCurrentKl[token] > 1e-6, "the update did not move the policy, so nothing was shown");
        }
    }

    [Theory]
    [InlineData(false, 4)]
    [InlineData(true, 4)]
    [InlineData(true, 100)]
    public void Look_Curvature_IsTheFormulaOfOneTokenAtATime(bool adam, int k)
    {
        using var setting = new Setting(new DistributionRequest(DistributionFacts.Curvature, k, adam));
        var (_, facts, current) = setting.LookAfterAnUpdate();
        var advantages = Rows.SelectMany(row => row.Advantages).ToArray();
        for (var token = 0; token < current.Length; token++)
        {
            int[] ids = [.. Enumerable.Range(0, current[token].Length).OrderByDescending(id => current[token][id]).Take(k)];
            var mass = ids.Sum(id => Math.Exp(current[token][id]));
            var (objective, policy) = LastLayerCurvature.Estimate(
                setting.HeadInputs[token], [.. ids.Select(id => Math.Exp(current[token][id]) / mass)], Array.IndexOf(ids, setting.Batch.Targets[token]),
                advantages[token], LearningRate, adam ? setting.Moments(ids) : null);
            Near(objective, facts.ObjectiveShift![token]);
            Near(policy, facts.PolicyShift![token]);
        }
    }

    private static void Near(double expected, double found) =>
        Assert.True(Math.Abs(expected - found) <= Tolerance * Math.Max(1, Math.Abs(expected)), $"expected {expected:R}, found {found:R}");

    private static void Near(IEnumerable<double> expected, double[] found)
    {
        foreach (var (left, right) in expected.Zip(found)) Near(left, right);
    }

    /// <summary>A tiny model that is remembered as the old policy, then updated once.</summary>
    private sealed class Setting : IDisposable
    {
        private readonly TinyModel _folder = new();
        private readonly LoadedModel _policy;
        private readonly ParameterUpdate _update;
        private readonly DistributionProbe _probe;
        private readonly bool _compares;

        public Setting(DistributionRequest request)
        {
            _policy = new LoadedModel(_folder.Folder, ScalarType.Float64, TwoRows);
            _update = new ParameterUpdate(_policy.Parameters, new AdamWOptions());
            _probe = new DistributionProbe(request, _policy.Model, _update.Optimizer);
            _compares = request.ComparesWithOldPolicy;
            Batch = MicroBatchPlan.Pack(Rows, CPU);
        }

        public PackedTokens Batch { get; }

        /// <summary>[M][hidden] after the update.</summary>
        public double[][] HeadInputs { get; private set; } = [];

        /// <summary>Log distributions of the old policy, what the probe says, and log distributions of the updated policy.</summary>
        public (double[][] Old, TokenDistributions Facts, double[][] Current) LookAfterAnUpdate()
        {
            var old = LogDistributions();
            if (_compares) _policy.Model.Evaluate(Batch, headInput => _probe.Remember(Rows, Batch, headInput));
            using (var pass = _policy.Model.Forward(Batch)) _policy.Model.Backward(pass, new HeadSlopes([1, -0.5, 0.25, -1, 0.5]));
            _update.Apply(LearningRate);
            TokenDistributions? facts = null;
            _policy.Model.Evaluate(Batch, headInput =>
            {
                HeadInputs = [.. HostArrays.Double(headInput).Chunk(_policy.Model.Config.HiddenSize)];
                facts = _probe.Look(Rows, Batch, headInput, LearningRate);
            });
            return (old, facts!, LogDistributions());
        }

        /// <summary>AdamW's moments of some rows of the output projection.</summary>
        public LastLayerCurvature.AdamRows Moments(int[] ids)
        {
            var (optimizer, slot, width) = (_update.Optimizer, _policy.Model.HeadSlot!, _policy.Model.Config.HiddenSize);
            double[][] RowsOf(Tensor moment)
            {
                var all = HostArrays.Double(moment);
                return [.. ids.Select(id => all.AsSpan((int)slot.Offset + id * width, width).ToArray())];
            }
            return new(RowsOf(optimizer.FirstMoment), RowsOf(optimizer.SecondMoment), (int)optimizer.Steps, optimizer.Options.Beta1, optimizer.Options.Beta2, optimizer.Options.Epsilon);
        }

        public void Dispose()
        {
            _probe.Forget();
            Batch.Dispose();
            _update.Dispose();
            _policy.Dispose();
            _folder.Dispose();
        }

        /// <summary>log softmax over the kept ids, -infinity elsewhere.</summary>
        private double[][] LogDistributions()
        {
            using var logits = _policy.Model.Logits(Batch);
            return [.. HostArrays.Double(logits).Chunk(_policy.Model.Config.VocabSize).Select((row, token) =>
            {
                var kept = Batch.KeptTokenIds![token];
                var sum = Math.Log(row.Where((_, id) => kept is null || kept.Contains(id)).Sum(Math.Exp));
                return row.Select((logit, id) => kept is null || kept.Contains(id) ? logit - sum : double.NegativeInfinity).ToArray();
            })];
        }
    }
}
