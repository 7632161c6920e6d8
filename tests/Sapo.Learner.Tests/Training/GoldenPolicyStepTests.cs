using System.Text.Json;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>Complete policy updates against TRL's GRPOTrainer (golden/step/grpo): losses, gradient norms, every parameter.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenPolicyStepTests
{
    // golden/step/README.md, Tolerances: measured between independent right computations.
    private const double LossTolerance = 1e-5, NormTolerance = 3e-5, AdvantageTolerance = 1e-5, GradientTolerance = 5e-6;
    private const double MostParameters = 1e-6, WorstParameter = 1e-4;
    private const double Float64LossTolerance = 1e-10, Float64NormTolerance = 1e-10, Float64MostParameters = 1e-9, Float64WorstParameter = 1e-8;

    // In float64 the reference drew the sampler's log-probs anew; they are recorded in float32 only.
    private const double Float64LossToleranceWithSampler = 1e-6, Float64NormToleranceWithSampler = 1e-5;

    private static string Folder => Golden.PathOf("step", "grpo");

    [Fact]
    public void Step_Float32_EqualsTrl() => ReplayAll(ScalarType.Float32);

    [Fact]
    public void Step_Float64_EqualsTrl() => ReplayAll(ScalarType.Float64);

    private static void ReplayAll(ScalarType precision)
    {
        var count = new GoldenCount($"step/grpo in {precision}");
        foreach (var file in Directory.Exists(Folder) ? Directory.GetFiles(Folder, "*.json") : [])
        {
            var name = Path.GetFileNameWithoutExtension(file);
            var root = GoldenJson.Read("step", "grpo", name + ".json");
            if (TrlStepCase.Unsupported(root) is { } reason) count.Excluded(reason);
            else
            {
                Replay(name, root, precision);
                count.Compared(root.GetProperty("options").GetProperty("loss_type").GetString()!);
            }
        }
        count.Report();
    }

    private static void Replay(string name, JsonElement root, ScalarType precision)
    {
        var one = new TrlStepCase(root);
        var isDouble = precision == ScalarType.Float64;
        using var replay = new StepReplay(Golden.PathOf("step", "models", root.GetProperty("model").GetString()!), one.Optimizer, TrlStepCase.Learner, one.Objective, precision);
        var steps = root.GetProperty("steps").EnumerateArray().ToArray();
        var done = 0;
        foreach (var (rollout, index) in root.GetProperty("rollouts").EnumerateArray().Select((rollout, index) => (rollout, index)))
        {
            var rows = one.Rows(rollout, (expected, found) => Assert.Equal(expected, found, AdvantageTolerance));
            var mine = steps.Where(step => step.GetProperty("micro_batches")[0].GetProperty("rollout").GetInt32() == index).ToArray();
            one.TokensPerStep = one.MeanTokensPerStep(rollout);
            var report = replay.Step.Run(new TrainingBatch([.. mine.Select(step => TrlStepCase.MiniBatchOf(step, rows))], 0), one.LearningRate(mine), default);
            for (var step = 0; step < mine.Length; step++, done++) Compare($"{name} step {done + 1}", mine[step], report.MiniBatches[step], isDouble, one.UsesSampler);
        }
        if (isDouble) CompareIfThere(replay, name + ".final-fp64.safetensors", Float64MostParameters, Float64WorstParameter);
        else CompareIfThere(replay, name + ".final.safetensors", MostParameters, one.IsSgd ? MostParameters : WorstParameter);
        if (!isDouble) ReplayFirstStep(name, root, one);
    }

    /// <summary>The first step on its own: parameters after it, and its gradient before clipping.</summary>
    private static void ReplayFirstStep(string name, JsonElement root, TrlStepCase one)
    {
        if (!HasFirstStep(name)) return;
        using var replay = new StepReplay(Golden.PathOf("step", "models", root.GetProperty("model").GetString()!), one.Optimizer, TrlStepCase.Learner, one.Objective, ScalarType.Float32);
        var first = root.GetProperty("steps")[0];
        var rollout = root.GetProperty("rollouts")[0];
        var rows = one.Rows(rollout, (_, _) => { });
        one.TokensPerStep = one.MeanTokensPerStep(rollout);
        var report = replay.Step.Run(new TrainingBatch([TrlStepCase.MiniBatchOf(first, rows)], 0), one.LearningRate([first]), default);
        CompareIfThere(replay, name + ".step1.safetensors", MostParameters, WorstParameter);
        var gradients = Path.Combine(Folder, name + ".grad1.safetensors");
        if (File.Exists(gradients)) replay.CompareFirstGradient(gradients, report.MiniBatches[0].GradientNorm, GradientTolerance);
    }

    private static bool HasFirstStep(string name) => File.Exists(Path.Combine(Folder, name + ".step1.safetensors")) || File.Exists(Path.Combine(Folder, name + ".grad1.safetensors"));

    private static void Compare(string what, JsonElement expected, MiniBatchReport found, bool isDouble, bool usesSampler)
    {
        var suffix = isDouble ? "_fp64" : "";
        var (loss, norm) = (expected.GetProperty("loss" + suffix).Number(), expected.GetProperty("grad_norm_before_clipping" + suffix).Number());
        var lossTolerance = isDouble ? usesSampler ? Float64LossToleranceWithSampler : Float64LossTolerance : LossTolerance;
        var normTolerance = isDouble ? usesSampler ? Float64NormToleranceWithSampler : Float64NormTolerance : NormTolerance;
        Assert.True(Math.Abs(loss + found.Objective) <= lossTolerance * Math.Max(1, Math.Abs(loss)), $"{what}: loss {-found.Objective:R}, the reference has {loss:R}");
        Assert.True(Math.Abs(norm - found.GradientNorm) <= normTolerance * Math.Max(norm, 1e-6), $"{what}: gradient norm {found.GradientNorm:R}, the reference has {norm:R}");
    }

    private static void CompareIfThere(StepReplay replay, string file, double most, double worst)
    {
        var path = Path.Combine(Folder, file);
        if (File.Exists(path)) replay.CompareParameters(path, most, worst);
    }
}
