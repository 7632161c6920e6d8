// Runs that train an adapter with a KL penalty: ONNX Runtime serves the merged weights, TorchSharp trains A and B beside a frozen base.
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Hybrid.Memory;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Tests.Runs;

public sealed class AdapterRunTests
{
    private const int Steps = 4;

    // Engine and learner run the same weights in fp32, here merged and apart: the probe's own tolerance.
    private const double MismatchTolerance = 1e-4;

    private const string Adapter = """ "lora": { "rank": 4, "useRslora": true } """, Penalty = """ "objective": { "kl": { "kind": "k3+", "beta": 0.1 }, "entropyBonus": { "coefficient": 0.05 } } """;

    [Fact]
    public async Task RunAsync_WithAdapterAndKl_GoesOnBitForBitAndLeavesBoth()
    {
        using var straight = new TemporaryFolder();
        using var interrupted = new TemporaryFolder();
        var options = TinyRun.Options(Steps, Penalty, Adapter);
        AssertMatches(await TinyRun.RunAsync(options, straight.Path), Steps);
        await TinyRun.RunInterruptedAsync(options, interrupted.Path, after: 2);
        Assert.Equal(TinyRun.WithoutTimes(straight.Path), TinyRun.WithoutTimes(interrupted.Path));
        foreach (var file in new[] { Path.Combine("final", "model.safetensors"), Path.Combine("final", "adapter", "adapter_model.safetensors") })
            Assert.Equal(await File.ReadAllBytesAsync(straight.At(file)), await File.ReadAllBytesAsync(interrupted.At(file)));
        Assert.True(File.Exists(straight.At("coldstart", "adapter", "adapter_config.json")));
        Assert.NotEqual(await File.ReadAllBytesAsync(straight.At("model", "model.safetensors")), await File.ReadAllBytesAsync(straight.At("final", "model.safetensors")));
    }

    [Fact]
    public async Task RunAsync_FromAnAdapterFolder_GoesOnTrainingIt()
    {
        using var folder = new TemporaryFolder();
        await TinyRun.RunAsync(TinyRun.Options(1, Penalty, Adapter), folder.At("first"));
        var problems = folder.File("p.jsonl", string.Concat(Enumerable.Range(10, 20).Select(a => $"{{\"prompt\": \"{a}+11=\", \"answer\": {a + 11}}}\n")));
        var options = TinyRun.Options(2) with
        {
            Model = new ModelOptions { Folder = folder.At("first", "model"), Adapter = folder.At("first", "final", "adapter") }, ColdStart = null,
            Task = new JsonlTaskOptions { Train = problems, Chat = false },
            Objective = new ObjectiveOptions { Kl = new KlOptions { Kind = "k2", Reference = folder.At("first", "model") }, EntropyBonus = new EntropyBonusOptions() },
        };
        AssertMatches(await TinyRun.RunAsync(options.Validated(), folder.At("second")), 2);
        Assert.Equal(2, PublishedPolicy.Open(folder.At("second", "final")).Version.Value);
        Assert.True(File.Exists(folder.At("second", "final", "adapter", "adapter_model.safetensors")));
    }

    [Fact]
    public async Task Plan_OfAReferencePolicy_CountsWhatItHoldsOfItsOwn()
    {
        using var folder = new TemporaryFolder();
        await TinyRun.RunAsync(TinyRun.Options(1), folder.Path);
        var problems = folder.File("p.jsonl", "{\"prompt\": \"11+11=\", \"answer\": 22}\n");
        long Copies(bool adapted, KlOptions? kl) => MemoryPreflight.Plan(TinyRun.Options(1) with
        {
            Model = new ModelOptions { Folder = folder.At("model") }, ColdStart = null, Task = new JsonlTaskOptions { Train = problems, Chat = false },
            Learner = new LearnerOptions { MiniBatches = 2, Lora = adapted ? new LoraOptions { Rank = 2 } : null }, Objective = new ObjectiveOptions { Kl = kl },
        }).Parts.Where(part => part.Name == "copies of the policy").Sum(part => part.Bytes);
        var (whole, other, ownBase) = (4 * ModelConfigReader.Read(folder.At("model")).ParameterCount, new KlOptions { Reference = folder.At("final") }, new KlOptions { Reference = folder.At("model") });
        Assert.Equal(0, Copies(adapted: false, kl: null));
        Assert.Equal(whole, Copies(adapted: false, new KlOptions()));
        Assert.Equal(whole, Copies(adapted: false, ownBase)); // loaded a second time: the trained weights move away
        var merged = Copies(adapted: true, kl: null);
        Assert.InRange(Copies(adapted: true, new KlOptions()) - merged, 1, whole / 2); // A and B
        Assert.Equal(whole, Copies(adapted: true, other) - merged);
        Assert.Equal(merged, Copies(adapted: true, ownBase));
    }

    [Fact]
    public void Options_AdapterThatDoesNotFit_IsRefusedByItsMember()
    {
        var lora = new LoraOptions();
        var folder = TinyRun.Options(1) with { Model = new ModelOptions { Folder = "m", Adapter = "a" }, ColdStart = null, Task = new JsonlTaskOptions { Train = "t" } };
        Refused(folder with { Learner = folder.Learner with { Lora = lora } }, "learner.lora");
        Refused(TinyRun.Options(1) with { Model = new ModelOptions { Create = new ModelCreateOptions(), Adapter = "a" } }, "model.adapter");
        foreach (var (wrong, member) in new[]
        {
            (lora with { Rank = 0 }, "rank"), (lora with { Alpha = double.NaN }, "alpha"), (lora with { TargetModules = [] }, "targetModules"),
            (lora with { TargetModules = ["q_proj"], TargetPattern = "x" }, "targetPattern"), (lora with { TargetPattern = "(" }, "targetPattern"),
            (lora with { TargetPattern = "x", LayersToTransform = [0] }, "layersToTransform"), (lora with { LayersToTransform = [-1] }, "layersToTransform"),
            (lora with { RankPattern = new Dictionary<string, int>(StringComparer.Ordinal) { ["v_proj"] = 0 } }, "rankPattern.v_proj"),
        })
            Refused(TinyRun.Options(1) with { Learner = new LearnerOptions { MiniBatches = 2, Lora = wrong } }, member);
    }

    private static void Refused(RunOptions options, string member) =>
        Assert.Contains(member, Assert.Throws<UserErrorException>(options.Validated).Message, StringComparison.Ordinal);

    private static void AssertMatches(IReadOnlyList<StepRecord> records, int steps)
    {
        Assert.Equal(steps, records.Count);
        Assert.All(records, record => Assert.InRange(record.Learner.Mismatch?.MaxNats ?? 0, 0, MismatchTolerance));
        Assert.Contains(records, record => record.Learner.GradientNorm > 0);
    }
}
