using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Training;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>How a policy is computed: recomputed activations change nothing but memory, bfloat16 products change values by their rounding.</summary>
public sealed class ComputeOptionsTests
{
    private const double RouterBalance = 0.5;

    // A bfloat16 has 8 significant bits: each rounding errs by up to 2^-9 = 0.2 % of a value. A layer makes some ten of them on the
    // way forward and twice as many on the way back; measured on these models and on ones of 0.85 and 100 million parameters:
    // log-probs 0.01 to 0.03 nats, the whole gradient 1.5 to 2.1 %, its worst tensor 6.5 %. The tolerances are twice that.
    private const double LogProbRounding = 0.06, GradientRounding = 0.04, TensorRounding = 0.13;

    // Less would mean that products were not rounded at all.
    private const double LeastRounding = 1e-3;

    private static readonly ComputeOptions Recomputing = new(RecomputesActivations: true), Bfloat16 = new(ScalarType.BFloat16);

    public static TheoryData<string> Architectures() => PackingTests.Architectures();

    [Theory, MemberData(nameof(Architectures))]
    public void Backward_AdapterOfTheLastLayer_EndsThereWithTheSameGradients(string architecture)
    {
        using var folder = new TinyModel(PackingTests.Config(architecture));
        var last = folder.Config.LayerCount - 1;
        using var all = new LoadedModel(folder.Folder, adapter: config => new LowRankAdapter(new LoraOptions { Rank = 2 }, config, ScalarType.Float32, CPU));
        using var upper = new LoadedModel(folder.Folder, adapter: config => new LowRankAdapter(new LoraOptions { Rank = 2, TargetPattern = $@"model\.layers\.{last}\..*(_proj|gate)" }, config, ScalarType.Float32, CPU));
        manual_seed(1);
        foreach (var slot in upper.Weights.Trained.InCheckpointOrder)
        {
            using var scope = NewDisposeScope();
            var drawn = randn(slot.Shape);
            foreach (var adapted in new[] { all, upper }) adapted.Weights.Trained[slot.Name].Value.copy_(drawn); // below, B stays 0
        }
        using var batch = new PackedTokens(PackingTests.Groups(folder.Config), CPU);
        var (slopes, entropySlopes) = PackingTests.Slopes(batch.Targets.Length, 0);
        var balance = folder.Config.Mixture is null ? 0 : RouterBalance;
        long whole = 0, part = 0;
        var expected = all.Train(batch, slopes, entropySlopes, balance, pass => whole = pass.KeptBytes);
        var found = upper.Train(batch, slopes, entropySlopes, balance, pass => part = pass.KeptBytes);
        Assert.Equal(expected.LogProbs, found.LogProbs);
        var gradients = all.TakeGradients();
        Assert.All(upper.TakeGradients(), gradient => Assert.Equal(gradients[gradient.Key], gradient.Value));
        Assert.InRange((double)part / whole, 0.01, 1.5 / folder.Config.LayerCount);
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Activations_Recomputed_GiveTheSameBits(string architecture)
    {
        using var folder = new TinyModel(PackingTests.Config(architecture));
        var kept = Run(folder, ComputeOptions.Plain);
        var recomputed = Run(folder, Recomputing);
        Assert.Equal(kept.Values.LogProbs, recomputed.Values.LogProbs);
        Assert.Equal(kept.Values.Entropies, recomputed.Values.Entropies);
        foreach (var (name, gradient) in kept.Gradients) Assert.Equal(gradient, recomputed.Gradients[name]);
        Assert.InRange((double)recomputed.KeptBytes / kept.KeptBytes, 0.01, 0.2); // of each layer one tensor [N, hidden] instead of all of them
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Products_InBfloat16_AreWithinItsRounding(string architecture)
    {
        using var folder = new TinyModel(PackingTests.Config(architecture));
        var (exact, rounded) = (Run(folder, ComputeOptions.Plain), Run(folder, Bfloat16));
        Assert.InRange(RootMeanSquare(exact.Values.LogProbs, rounded.Values.LogProbs), LeastRounding, LogProbRounding);
        double[] all = [.. exact.Gradients.Values.SelectMany(gradient => gradient)], allRounded = [.. exact.Gradients.Keys.SelectMany(name => rounded.Gradients[name])];
        Assert.InRange(RootMeanSquare(all, allRounded) / RootMeanSquare(all, new double[all.Length]), LeastRounding, GradientRounding);
        foreach (var (name, gradient) in exact.Gradients)
        {
            var difference = RootMeanSquare(gradient, rounded.Gradients[name]);
            Assert.True(difference <= TensorRounding * RootMeanSquare(gradient, new double[gradient.Length]), $"{architecture} {name}: {difference:R}");
        }
    }

    private static (HeadResult Values, Dictionary<string, double[]> Gradients, long KeptBytes) Run(TinyModel folder, ComputeOptions compute)
    {
        using var loaded = new LoadedModel(folder.Folder, compute: compute);
        using var batch = new PackedTokens(PackingTests.Groups(folder.Config), CPU);
        long kept = 0;
        var (slopes, entropySlopes) = PackingTests.Slopes(batch.Targets.Length, 0);
        var values = loaded.Train(batch, slopes, entropySlopes, folder.Config.Mixture is null ? 0 : RouterBalance, pass => kept = pass.KeptBytes);
        return (values, loaded.TakeGradients(), kept);
    }

    private static double RootMeanSquare(double[] first, double[] second) => Math.Sqrt(first.Zip(second, (x, y) => (x - y) * (x - y)).Average());
}
