using System.Text.Json;
using Sapo.Learner.Model;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Optimization;

/// <summary>The optimizer, clipping and schedules against PyTorch and transformers (golden/step/adamw).</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenAdamWTests
{
    // golden/step/README.md: float32 parameters agree to 1e-6, double ones to 1e-13. Gradients near epsilon are in the cases.
    private const double Float32Tolerance = 1e-6, Float64Tolerance = 1e-13;

    // The reference computes norms in float32: 7 digits.
    private const double NormTolerance = 1e-6;

    private const double ScheduleTolerance = 1e-12; // relative, as the reference's README has it

    [Fact]
    public void AdamW_TwentySteps_EqualsPyTorch()
    {
        var root = GoldenJson.Read("step", "adamw", "adamw.json");
        var count = new GoldenCount("step/adamw: AdamW");
        foreach (var one in root.GetProperty("cases").EnumerateArray())
        {
            if (one.GetProperty("amsgrad").GetBoolean())
            {
                count.Excluded("amsgrad is not offered");
                continue;
            }
            Replay(root, one);
            count.Compared(one.GetProperty("dtype").GetString()!);
        }
        count.Report();
    }

    [Fact]
    public void Clip_FiniteGradients_EqualPyTorch()
    {
        var count = new GoldenCount("step/adamw: clipping");
        foreach (var one in GoldenJson.Read("step", "adamw", "clip.json").GetProperty("cases").EnumerateArray())
        {
            using var scope = NewDisposeScope();
            var before = one.GetProperty("before").Flat();
            var norm = GradientClip.Norm(tensor(Array.ConvertAll(before, value => (float)value)));
            if (before.All(double.IsFinite))
            {
                Assert.Equal(one.GetProperty("total_norm").Number(), norm, NormTolerance * Math.Max(1, norm));
                var factor = GradientClip.Factor(norm, one.GetProperty("max_norm").Number());
                var after = one.GetProperty("after").Flat();
                for (var i = 0; i < before.Length; i++) Assert.Equal(after[i], before[i] * factor, NormTolerance * Math.Max(1, Math.Abs(before[i])));
                count.Compared("finite");
            }
            else
            {
                Assert.False(double.IsFinite(norm)); // such a step is skipped here, where PyTorch would spread NaN
                count.Compared("not finite: recognised");
            }
        }
        count.Report();
    }

    [Fact]
    public void Schedules_EveryStep_EqualTransformers()
    {
        var count = new GoldenCount("step/adamw: schedules");
        foreach (var one in GoldenJson.Read("step", "adamw", "schedules.json").GetProperty("cases").EnumerateArray())
        {
            var name = one.GetProperty("name").GetString()!;
            string? schedule = name.Split('_')[0] is "constant" or "linear" or "cosine" ? name.Split('_')[0] : null;
            var extra = one.GetProperty("extra");
            if (schedule is null || extra.EnumerateObject().Any(option => option.Name is not ("min_lr" or "min_lr_rate")))
            {
                count.Excluded($"schedule {name} is not offered");
                continue;
            }
            var (peak, warmup, total) = (one.GetProperty("base_lr").Number(), (int)one.GetProperty("num_warmup_steps").Number(), (int)one.GetProperty("num_training_steps").Number());
            var final = extra.OptionalNumber("min_lr_rate") ?? (extra.OptionalNumber("min_lr") ?? 0) / peak;
            var expected = one.GetProperty("lr_of_step").Flat();
            for (var step = 0; step < expected.Length; step++)
            {
                if (step > total && schedule == "cosine")
                {
                    count.Excluded("past its end transformers' cosine rises again, ours stays");
                    continue;
                }
                var rate = peak * LearningRateSchedule.Warmup(step, warmup) * LearningRateSchedule.Decay(schedule, step, warmup, total, final);
                Assert.Equal(expected[step], rate, ScheduleTolerance * peak);
            }
            count.Compared(name);
        }
        count.Report();
    }

    /// <summary>Each tensor has an optimizer of its own, since a tensor without a gradient keeps its own step count.</summary>
    private static void Replay(JsonElement root, JsonElement one)
    {
        using var scope = NewDisposeScope();
        var isDouble = one.GetProperty("dtype").GetString() == "float64";
        var tolerance = isDouble ? Float64Tolerance : Float32Tolerance;
        var precision = isDouble ? ScalarType.Float64 : ScalarType.Float32;
        var betas = one.GetProperty("betas").Flat();
        var options = new AdamWOptions { Beta1 = betas[0], Beta2 = betas[1], Epsilon = one.GetProperty("eps").Number(), WeightDecay = one.GetProperty("weight_decay").Number() };
        var optimizers = root.GetProperty("initial").EnumerateObject().ToDictionary(
            pair => pair.Name,
            pair =>
            {
                var weights = Single(pair.Value).to_type(precision);
                var gradients = weights.zeros_like();
                return (Weights: weights, Gradients: gradients, Optimizer: new AdamW(weights, gradients, weights.shape[0], options));
            }, StringComparer.Ordinal);
        var step = 0;
        foreach (var gradients in root.GetProperty("gradients").EnumerateArray())
        {
            var present = gradients.EnumerateObject().ToDictionary(pair => pair.Name, pair => Single(pair.Value), StringComparer.Ordinal);
            var all = cat([.. present.Values]).to_type(precision);
            var norm = GradientClip.Norm(all);
            if (one.GetProperty("total_norm_before_clipping").Flat() is { Length: > 0 } norms) Assert.Equal(norms[step], norm, NormTolerance * Math.Max(1, norm));
            foreach (var (name, values) in present)
            {
                optimizers[name].Gradients.copy_(values);
                optimizers[name].Optimizer.Step(one.GetProperty("lr").Number(), GradientClip.Factor(norm, one.OptionalNumber("clip_max_norm")));
            }
            step++;
            if (one.GetProperty("params_after_step").TryGetProperty(step.ToString(), out var expected))
                foreach (var pair in expected.EnumerateObject()) Near(pair.Value.Flat(), HostArrays.Double(optimizers[pair.Name].Weights), tolerance, $"{one.GetProperty("name")} {pair.Name} after step {step}");
        }
        foreach (var pair in optimizers.Values) pair.Optimizer.Dispose();
    }

    /// <summary>The reference's inputs are float32 numbers, in its float64 cases too.</summary>
    private static Tensor Single(JsonElement values) => tensor(Array.ConvertAll(values.Flat(), value => (float)value));

    private static void Near(double[] expected, double[] found, double tolerance, string what)
    {
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - found[i]) <= tolerance, $"{what}[{i}] is {found[i]:R}, the reference has {expected[i]:R}");
    }
}
