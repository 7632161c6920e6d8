using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Learner.Optimization;
using Sapo.Learner.Tests.Model;
using Sapo.Learner.Tests.Objectives;
using Sapo.Testing;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>Supervised steps against transformers' Trainer (golden/step/sft), DPO steps against TRL's DPOTrainer (golden/step/dpo).</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class GoldenSupervisedTests
{
    // golden/step/README.md, Tolerances.
    private const double LossTolerance = 1e-5, NormTolerance = 3e-5, MostParameters = 1e-6, WorstParameter = 1e-4;
    private const double Float64LossTolerance = 1e-10, Float64NormTolerance = 1e-10;

    [Theory, InlineData(ScalarType.Float32), InlineData(ScalarType.Float64)]
    public void SupervisedSteps_EqualTransformers(ScalarType precision) => ReplayAll("sft", precision, (loaded, root, options) =>
    {
        var training = new SupervisedTraining(loaded.Model, options, routerBalance: 0, maxTokens: 64, CPU); // several micro-batches
        var (prompts, completions) = (Ids(root, "prompts"), Ids(root, "completions"));
        return (training, (rows, rate) =>
        {
            var report = training.Step(new SupervisedBatch([.. rows.Select(row => new SupervisedExample(prompts[row], completions[row]))]), rate);
            return (report.Loss, report.GradientNorm);
        });
    });

    [Theory, InlineData(ScalarType.Float32), InlineData(ScalarType.Float64)]
    public void PreferenceSteps_EqualTrl(ScalarType precision) => ReplayAll("dpo", precision, (loaded, root, options) =>
    {
        var beta = root.GetProperty("options").GetProperty("beta").Number();
        var training = new PreferenceTraining(loaded.Model, options, beta, maxTokens: 40, CPU);
        var (prompts, chosen, rejected) = (Ids(root, "prompts"), Ids(root, "chosen"), Ids(root, "rejected"));
        return (training, (rows, rate) =>
        {
            var report = training.Step([.. rows.Select(row => new PreferenceExample(prompts[row], chosen[row], rejected[row]))], rate);
            return (report.Loss, report.GradientNorm);
        });
    });

    private static void ReplayAll(
        string folder, ScalarType precision, Func<LoadedModel, JsonElement, AdamWOptions, (IDisposable Owner, Func<int[], double, (double Loss, double Norm)> Step)> make)
    {
        var count = new GoldenCount($"step/{folder} in {precision}");
        var path = Golden.PathOf("step", folder);
        foreach (var file in Directory.Exists(path) ? Directory.GetFiles(path, "*.json") : [])
        {
            var name = Path.GetFileNameWithoutExtension(file);
            var root = GoldenJson.Read("step", folder, name + ".json");
            if (root.GetProperty("options").GetProperty("optim").GetString() is not "adamw_torch" and var optimizer)
            {
                count.Excluded($"optimizer {optimizer} is not offered");
                continue;
            }
            if (root.GetProperty("options").TryGetProperty("loss_type", out var loss) && loss.GetString() != "sigmoid")
            {
                count.Excluded($"preference loss {loss.GetString()} is not offered");
                continue;
            }
            Replay(root, Path.Combine(path, name), precision, make);
            count.Compared(name);
        }
        count.Report();
    }

    private static void Replay(
        JsonElement root, string file, ScalarType precision, Func<LoadedModel, JsonElement, AdamWOptions, (IDisposable Owner, Func<int[], double, (double Loss, double Norm)> Step)> make)
    {
        var options = root.GetProperty("options");
        var optimizer = new AdamWOptions
        {
            Beta1 = options.GetProperty("adam_beta1").Number(), Beta2 = options.GetProperty("adam_beta2").Number(), Epsilon = options.GetProperty("adam_epsilon").Number(),
            WeightDecay = options.GetProperty("weight_decay").Number(), MaxGradientNorm = options.GetProperty("max_grad_norm").Number(),
        };
        using var loaded = new LoadedModel(Golden.PathOf("step", "models", root.GetProperty("model").GetString()!), precision);
        var (owner, step) = make(loaded, root, optimizer);
        using var owned = owner;
        var isDouble = precision == ScalarType.Float64;
        var suffix = isDouble ? "_fp64" : "";
        foreach (var expected in root.GetProperty("steps").EnumerateArray())
        {
            int[] rows = [.. expected.GetProperty("micro_batches").EnumerateArray().SelectMany(part => part.GetProperty("rows").Flat()).Select(row => (int)row)];
            var (loss, norm) = step(rows, expected.GetProperty("lr").Number());
            var (expectedLoss, expectedNorm) = (expected.GetProperty("loss" + suffix).Number(), expected.GetProperty("grad_norm_before_clipping" + suffix).Number());
            Assert.Equal(expectedLoss, loss, (isDouble ? Float64LossTolerance : LossTolerance) * Math.Max(1, Math.Abs(expectedLoss)));
            Assert.Equal(expectedNorm, norm, (isDouble ? Float64NormTolerance : NormTolerance) * expectedNorm);
        }
        if (!isDouble) Parameters.Compare(loaded, file + ".final.safetensors", MostParameters, WorstParameter);
    }

    private static int[][] Ids(JsonElement root, string name) => [.. root.GetProperty(name).EnumerateArray().Select(row => row.Flat().Select(id => (int)id).ToArray())];
}
