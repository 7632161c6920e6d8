// The whole stack on a tiny model: ONNX Runtime samples, TorchSharp learns, every version is published and swapped in.
using System.Runtime.InteropServices;
using System.Text;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Core.Safetensors;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class RunSessionTests
{
    private const int Steps = 6, PromptsPerStep = 4, GroupSize = 2;

    [Fact]
    public async Task RunAsync_SmallRun_LeavesEverythingARunFolderHolds()
    {
        using var folder = new TemporaryFolder();
        var observer = new RunRecorder();
        var outcome = await RunSession.RunAsync(Options(steps: 3), folder.Path, fresh: false, observer, TimeProvider.System, default);

        Assert.False(outcome.WasFinished);
        Assert.Equal(16, outcome.After!.Problems);
        Assert.Equal(3, outcome.After.Version);
        Assert.Equal([1, 2, 3], observer.Records.Select(record => record.Step));
        Assert.All(observer.Records, record => Assert.Equal(0, record.Completions.MaxStaleness));
        // Engine and learner run the same weights in fp32: the probe's own tolerance holds for every sampled token.
        Assert.All(observer.Records, record => Assert.InRange(record.Learner.Mismatch?.MaxNats ?? 0, 0, 1e-4));
        Assert.Equal([null, 1L, 2L], observer.Records.Select(record => record.Time.Swap?.Version)); // each step tells of the switch to the version that sampled it
        Assert.All(observer.Records.Skip(1), record => Assert.True(record.Time.Swap!.FullSpeedMilliseconds >= record.Time.Swap.ActiveMilliseconds));
        Assert.Equal(3, File.ReadAllLines(folder.At("metrics.jsonl")).Length);
        Assert.Equal(PromptsPerStep * GroupSize, File.ReadAllLines(folder.At("rollouts", "step-000003.jsonl")).Length);
        Assert.Single(Directory.GetFiles(folder.At("tensorboard")));
        Assert.Equal(3, PublishedPolicy.Open(folder.At("final")).Version.Value);
        Assert.Equal(0, PublishedPolicy.Open(folder.At("coldstart")).Version.Value);
        var report = await File.ReadAllTextAsync(folder.At("report.html"));
        Assert.Contains("<svg", report, StringComparison.Ordinal);
        Assert.DoesNotContain("http", report.Replace("http-equiv", "", StringComparison.Ordinal), StringComparison.Ordinal); // nothing is fetched

        var again = await RunSession.RunAsync(Options(steps: 3), folder.Path, fresh: false, new RunRecorder(), TimeProvider.System, default);
        Assert.True(again.WasFinished);
    }

    [Fact]
    public async Task RunAsync_Int8Engine_WritesEachVersionInItAndMeasuresTheMismatch()
    {
        using var folder = new TemporaryFolder();
        var observer = new RunRecorder();
        await RunSession.RunAsync(Options(steps: 2) with { Engine = Options(steps: 2).Engine with { Precision = "int8" } }, folder.Path, fresh: false, observer, TimeProvider.System, default);

        Assert.Equal(2, observer.Records.Count);
        Assert.All(observer.Records, record => Assert.InRange(record.Probe!.MeanAbsolute, 1e-6, 0.1));
        Assert.All(observer.Records, record => Assert.True(record.Time.PrecisionSeconds > 0));
        Assert.All(observer.Records, record => Assert.True(record.Probe!.MaxAbsolute > 1e-4)); // more than 32 bits would be allowed
        Assert.Contains(observer.News, line => line.StartsWith("int8: log-probs differ from the learner", StringComparison.Ordinal));
        Assert.Contains(observer.News, line => line.Contains("objective.correction", StringComparison.Ordinal));
        var final = PublishedPolicy.Open(folder.At("final"));
        Assert.True(final.Has(Core.Models.Precision.Int8) && final.Has(Core.Models.Precision.Fp32));
    }

    [Fact]
    public async Task RunAsync_InterruptedAndContinued_GivesTheSameNumbersBitForBit()
    {
        using var straight = new TemporaryFolder();
        using var interrupted = new TemporaryFolder();
        await RunSession.RunAsync(Options(Steps), straight.Path, fresh: false, new RunRecorder(), TimeProvider.System, default);

        using var stop = new CancellationTokenSource();
        var first = new RunRecorder { OnStep = record => { if (record.Step == 3) stop.Cancel(); } };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunSession.RunAsync(Options(Steps), interrupted.Path, fresh: false, first, TimeProvider.System, stop.Token));
        Assert.False(File.Exists(interrupted.At("report.html")));
        await File.AppendAllTextAsync(interrupted.At("metrics.jsonl"), "{\"step\":4,\"vers"); // a kill in the middle of a line
        var second = new RunRecorder();
        await RunSession.RunAsync(Options(Steps), interrupted.Path, fresh: false, second, TimeProvider.System, default);

        Assert.Equal([4, 5, 6], second.Records.Select(record => record.Step));
        Assert.Contains(second.News, line => line.Contains("after step 3 of 6", StringComparison.Ordinal));
        Assert.Equal(TinyRun.WithoutTimes(straight.Path), TinyRun.WithoutTimes(interrupted.Path));
        Assert.Equal(await File.ReadAllBytesAsync(straight.At("final", "model.safetensors")), await File.ReadAllBytesAsync(interrupted.At("final", "model.safetensors")));
        Assert.Equal(await File.ReadAllTextAsync(straight.At("rollouts", "after.jsonl")), await File.ReadAllTextAsync(interrupted.At("rollouts", "after.jsonl")), StringComparer.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"lora\": { \"rank\": 2 }")]
    public async Task RunAsync_ColdStartInterruptedAndContinued_GivesTheSameNumbersBitForBit(string learner)
    {
        using var straight = new TemporaryFolder();
        using var interrupted = new TemporaryFolder();
        var options = TinyRun.Options(1, learner: learner);
        options = options with { ColdStart = options.ColdStart! with { Steps = 70 } };
        await TinyRun.RunAsync(options, straight.Path);

        using var stop = new CancellationTokenSource();
        var first = new RunRecorder { OnColdStart = _ => stop.Cancel() };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunSession.RunAsync(options, interrupted.Path, fresh: false, first, TimeProvider.System, stop.Token));
        Assert.Contains(first.News, line => line.Contains("step 50 of 70 of the cold start is saved", StringComparison.Ordinal));
        var second = new RunRecorder();
        await RunSession.RunAsync(options, interrupted.Path, fresh: false, second, TimeProvider.System, default);

        Assert.Contains("Continuing an interrupted cold start after step 50 of 70.", second.News);
        Assert.Equal(TinyRun.WithoutTimes(straight.Path), TinyRun.WithoutTimes(interrupted.Path));
        foreach (var model in (string[])["coldstart", "final"])
            Assert.Equal(await File.ReadAllBytesAsync(straight.At(model, "model.safetensors")), await File.ReadAllBytesAsync(interrupted.At(model, "model.safetensors")));
    }

    [Fact]
    public async Task RunAsync_WeightsTurnToNoise_StopsBeforeTrainingOnThem()
    {
        using var folder = new TemporaryFolder();
        using var stop = new CancellationTokenSource();
        var first = new RunRecorder { OnStep = record => { if (record.Step == 3) stop.Cancel(); } };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunSession.RunAsync(Options(Steps), folder.Path, fresh: false, first, TimeProvider.System, stop.Token));
        Assert.Equal((2, 1, 8), (first.Records[2].Comparison!.Version, first.Records[2].Comparison!.Previous, first.Records[2].Comparison!.Completions));
        FillWithNoise(folder.At("checkpoints", "step-000003"));
        File.Delete(folder.At("checkpoints", "step-000003", "rollouts.jsonl")); // what the sound version sampled

        var second = new RunRecorder();
        var error = await Assert.ThrowsAsync<PolicyBrokenException>(() => RunSession.RunAsync(Options(Steps), folder.Path, fresh: false, second, TimeProvider.System, default));
        Assert.StartsWith("Policy v000003 looks broken: over 8 completions its mean log-prob per token is", error.Message, StringComparison.Ordinal);
        Assert.Empty(second.Records);
        Assert.Equal(3, File.ReadAllLines(folder.At("metrics.jsonl")).Length);
        Assert.Equal(8, File.ReadAllLines(folder.At("rollouts", "refused.jsonl")).Length);
        Assert.False(Directory.Exists(folder.At("checkpoints", "step-000004")));
    }

    [Fact]
    public async Task RunAsync_Asynchronous_StaysWithinItsStaleness()
    {
        using var folder = new TemporaryFolder();
        var observer = new RunRecorder();
        await RunSession.RunAsync(Options(Steps) with { MaxStaleness = 2 }, folder.Path, fresh: false, observer, TimeProvider.System, default);
        Assert.Equal(Steps, observer.Records.Count);
        Assert.All(observer.Records, record => Assert.InRange(record.Completions.MaxStaleness, 0, 2));
        Assert.Contains(observer.Records, record => record.Completions.MaxStaleness > 0); // the first batch after step 1 was admitted under version 0
    }

    [Theory]
    [InlineData("")]
    [InlineData("\"selection\": { \"mostBatches\": 2 }, \"curriculum\": { \"candidates\": 2 }")]
    public async Task RunAsync_ExactStalenessInterruptedAndContinued_GivesTheSameNumbersBitForBit(string members)
    {
        using var straight = new TemporaryFolder();
        using var interrupted = new TemporaryFolder();
        var options = TinyRun.Options(Steps, "\"maxStaleness\": 2, \"exactStaleness\": true, " + members);
        await TinyRun.RunAsync(options, straight.Path);
        await TinyRun.RunInterruptedAsync(options, interrupted.Path, after: 3);
        Assert.Equal(TinyRun.WithoutTimes(straight.Path), TinyRun.WithoutTimes(interrupted.Path));
        Assert.Equal(await File.ReadAllBytesAsync(straight.At("final", "model.safetensors")), await File.ReadAllBytesAsync(interrupted.At("final", "model.safetensors")));
    }

    [Fact]
    public async Task RunAsync_MixtureOfExpertsWithExactStaleness_GivesTheSameNumbersTwice()
    {
        using var first = new TemporaryFolder();
        using var second = new TemporaryFolder();
        var create = Options(Steps).Model.Create! with { ModelType = "qwen3_moe", ExpertCount = 4, ExpertsPerToken = 2 };
        var options = (Options(Steps) with { Model = new ModelOptions { Create = create }, MaxStaleness = 2, ExactStaleness = true }).Validated();
        var observer = new RunRecorder();
        await RunSession.RunAsync(options, first.Path, fresh: false, observer, TimeProvider.System, default);
        await RunSession.RunAsync(options, second.Path, fresh: false, new RunRecorder(), TimeProvider.System, default);
        Assert.Equal([0, 1, 2, 2, 2, 2], observer.Records.Select(record => record.Completions.MaxStaleness));
        Assert.All(observer.Records, record => Assert.Equal(record.Completions.MaxStaleness, record.Completions.MeanStaleness));
        Assert.All(observer.Records, record => Assert.Equal(2, record.Learner.MiniBatches.Count));
        Assert.Equal(TinyRun.WithoutTimes(first.Path), TinyRun.WithoutTimes(second.Path));
    }

    [Fact]
    public async Task RunAsync_AdditionOnAModelFolder_BeginsWithThatModel()
    {
        using var folder = new TemporaryFolder();
        await RunSession.RunAsync(Options(1), folder.At("first"), fresh: false, new RunRecorder(), TimeProvider.System, default);
        var options = (Options(1) with { Model = new ModelOptions { Folder = folder.At("first", "coldstart") }, ColdStart = null }).Validated();
        var (first, second) = (new RunRecorder(), new RunRecorder());
        var outcome = await RunSession.RunAsync(options, folder.At("second"), fresh: false, second, TimeProvider.System, default);
        await RunSession.RunAsync(Options(1), folder.At("third"), fresh: false, first, TimeProvider.System, default);
        Assert.Equal(first.Records[0].Reward.Mean, second.Records[0].Reward.Mean);
        Assert.Equal(first.Records[0].Learner.GradientNorm, second.Records[0].Learner.GradientNorm);
        Assert.NotNull(outcome.After);
    }

    [Fact]
    public async Task RunAsync_AdditionOnAModelWithOtherTokens_IsRefused()
    {
        using var folder = new TemporaryFolder();
        await RunSession.RunAsync(Options(1), folder.At("first"), fresh: false, new RunRecorder(), TimeProvider.System, default);
        var tokenizer = folder.At("first", "coldstart", "tokenizer.json");
        var text = await File.ReadAllTextAsync(tokenizer);
        await File.WriteAllTextAsync(tokenizer, text.Replace("\"0\": 3", "\"0\": 4", StringComparison.Ordinal).Replace("\"1\": 4", "\"1\": 3", StringComparison.Ordinal));
        var options = (Options(1) with { Model = new ModelOptions { Folder = folder.At("first", "coldstart") }, ColdStart = null }).Validated();
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RunSession.RunAsync(options, folder.At("second"), fresh: false, new RunRecorder(), TimeProvider.System, default));
        Assert.Contains("has other tokens than the addition task", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunAsync_ProblemsFromAFile_TrainsOnAModelFolder()
    {
        using var folder = new TemporaryFolder();
        await RunSession.RunAsync(Options(1), folder.At("first"), fresh: false, new RunRecorder(), TimeProvider.System, default);
        var problems = folder.File("p.jsonl", string.Concat(Enumerable.Range(10, 20).Select(a => $"{{\"prompt\": \"{a}+11=\", \"answer\": {a + 11}}}\n")));
        var options = Options(2) with
        {
            Model = new ModelOptions { Folder = folder.At("first", "final") }, ColdStart = null,
            Task = new JsonlTaskOptions { Train = problems, HeldOut = problems, Chat = false },
        };
        var observer = new RunRecorder();
        var outcome = await RunSession.RunAsync(options.Validated(), folder.At("second"), fresh: false, observer, TimeProvider.System, default);
        Assert.Equal(2, observer.Records.Count);
        Assert.Equal(16, outcome.After!.Problems);
        Assert.Equal(0, outcome.After.Unscored);
        Assert.False(Directory.Exists(folder.At("second", "coldstart")));
        Assert.Equal(2, PublishedPolicy.Open(folder.At("second", "final")).Version.Value);
    }

    [Fact]
    public async Task RunAsync_PenaltiesAndKeptSetsTooLarge_LeavesThemOutAndWarnsOnce()
    {
        using var folder = new TemporaryFolder();
        var observer = new RunRecorder();
        var options = Options(2);
        options = options with
        {
            Rollout = options.Rollout with { Temperature = 0.02, MinP = 0.5, RepetitionPenalty = 1.05, FrequencyPenalty = 0.1, PresencePenalty = 0.1, MaxNewTokens = 1 },
            Engine = options.Engine with { MaxKeptIds = 1 },
        };
        await RunSession.RunAsync(options.Validated(), folder.Path, fresh: false, observer, TimeProvider.System, default);
        Assert.Single(observer.News, line => line.StartsWith("warning: rollout has penalties", StringComparison.Ordinal));
        Assert.Single(observer.News, line => line.Contains("engine.maxKeptIds = 1", StringComparison.Ordinal));
        Assert.All(observer.Records, record => Assert.InRange(record.Completions.WithoutKeptIds, 1, record.Completions.Count - 1));
    }

    [Theory]
    [InlineData("evaluation/after.json", "{", "evaluation/after.json cannot be read")]
    [InlineData("coldstart.jsonl", "not a line\n", "coldstart.jsonl, line 1 cannot be read")]
    public async Task RunAsync_BrokenFileOfAnInterruptedRun_SaysToRemoveIt(string name, string content, string found)
    {
        using var folder = new TemporaryFolder();
        await RunSession.RunAsync(Options(1), folder.Path, fresh: false, new RunRecorder(), TimeProvider.System, default);
        File.Delete(folder.At("report.html")); // as if it had been interrupted before its last stage
        folder.File(name, content);
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RunSession.RunAsync(Options(1), folder.Path, fresh: false, new RunRecorder(), TimeProvider.System, default));
        Assert.Contains(found, error.Message, StringComparison.Ordinal);
        Assert.Contains("Remove ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunAsync_SequencesShorterThanTheProbes_ProbesWhatFits()
    {
        using var folder = new TemporaryFolder();
        var options = TinyRun.Options(1);
        var records = await TinyRun.RunAsync(options with { Engine = options.Engine with { MaxSequenceLength = 10 } }, folder.Path);
        Assert.InRange(records[0].Completions.MeanTokens, 1, 10);
    }

    [Fact]
    public async Task RunAsync_SlotsThatDoNotFit_AreRefusedBeforeTheColdStart()
    {
        using var folder = new TemporaryFolder();
        var options = TinyRun.Options(1);
        var observer = new RunRecorder();
        var error = await Assert.ThrowsAsync<UserErrorException>(() => RunSession.RunAsync(
            options with { Engine = options.Engine with { Slots = 100_000_000 } }, folder.Path, fresh: false, observer, TimeProvider.System, default));
        Assert.StartsWith("engine.slots is 100,000,000", error.Message, StringComparison.Ordinal);
        Assert.Empty(observer.News);
    }

    [Fact]
    public async Task RunAsync_BrokenModelFolder_IsOneMessage()
    {
        using var folder = new TemporaryFolder();
        folder.File("model/config.json", "{}");
        folder.File("model/tokenizer.json", "{}");
        var jsonl = folder.File("p.jsonl", "{\"prompt\": \"1\", \"answer\": \"1\"}\n");
        var options = Options(1) with
        {
            Model = new ModelOptions { Folder = folder.At("model") }, ColdStart = null,
            Task = new JsonlTaskOptions { Train = jsonl, HeldOut = jsonl, Reward = "exact", Chat = false },
        };
        await Assert.ThrowsAsync<UserErrorException>(() => RunSession.RunAsync(options.Validated(), folder.At("run"), fresh: false, new RunRecorder(), TimeProvider.System, default));
    }

    private static RunOptions Options(int steps) => RunOptionsReader.Parse(Encoding.UTF8.GetBytes(
        $$"""
        {
          "name": "tiny", "seed": 3, "steps": {{steps}},
          "model": { "create": { "hiddenSize": 16, "layerCount": 1, "headCount": 2, "keyValueHeadCount": 1, "headSize": 16, "intermediateSize": 32, "maxPositions": 48 } },
          "task": { "kind": "addition" },
          "coldStart": { "steps": 20, "batchSize": 8 },
          "rollout": { "promptsPerStep": {{PromptsPerStep}}, "groupSize": {{GroupSize}}, "maxNewTokens": 12 },
          "engine": { "slots": 8 },
          "learner": { "miniBatches": 2, "learningRate": 1e-3 },
          "evaluation": { "problems": 16 },
        }
        """), "tiny.json");

    /// <summary>Overwrites every tensor of a checkpoint with numbers that make sharp, senseless distributions.</summary>
    private static void FillWithNoise(string checkpoint)
    {
        foreach (var path in Directory.GetFiles(checkpoint, "*.safetensors"))
        {
            SafetensorsEntry[] entries;
            using (var file = SafetensorsFile.Open(path)) entries = [.. file.Entries.Where(entry => entry.Name.StartsWith("model.", StringComparison.Ordinal))];
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Write);
            foreach (var entry in entries)
            {
                var noise = Enumerable.Range(0, (int)(entry.Bytes / sizeof(float))).Select(i => 8 * CounterRandom.Uniform(1, entry.FileOffset, 0, i) - 4).ToArray();
                stream.Position = entry.FileOffset;
                stream.Write(MemoryMarshal.AsBytes<float>(noise));
            }
        }
    }
}
