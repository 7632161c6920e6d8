// Every number of a profile is there, finite and consistent with what was asked. None is compared with a time: machines differ.
using System.Text.Json;
using Sapo.Rollout;
using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Hybrid.Profiling;
using Sapo.Sync;

namespace Sapo.Hybrid.Tests.Profiling;

public sealed class ProfilerTests
{
    private const int PromptTokens = 5, NewTokens = 6, GroupSize = 2;

    private static readonly ModelConfig Config = new()
    {
        ModelType = "qwen3", VocabSize = 40, HiddenSize = 32, LayerCount = 2, HeadCount = 2, KeyValueHeadCount = 1, HeadSize = 16, IntermediateSize = 48, MaxPositions = 64,
        TieWordEmbeddings = true, QueryKeyNorm = true, SlidingWindows = new int?[2], EndTokenIds = [1],
    };

    private static readonly MachineLimits Limits = new(Threads: 1, MatrixThreads: 1, ReadBytesPerSecond: 1e9, CopyBytesPerSecond: 1e9, MatrixFlopsPerSecond: 1e9);

    [Fact]
    public void Measure_SmallMachine_GivesPositiveLimits()
    {
        var limits = MachineLimits.Measure(threads: 2, bytes: 1 << 16, matrixSize: 16);
        Assert.Equal(2, limits.Threads);
        Assert.True(limits.MatrixThreads >= 1);
        Assert.All([limits.ReadBytesPerSecond, limits.CopyBytesPerSecond, limits.MatrixFlopsPerSecond], AssertPositive);
    }

    [Theory]
    [InlineData(4, 2, "auto")]
    [InlineData(3, 1, "never")]
    public async Task MeasureAsync_Workload_CountsWhatWasAsked(int slots, int rounds, string prepack)
    {
        using var folder = new TemporaryFolder();
        using var model = Model(folder);
        var workload = new RolloutWorkload { Slots = slots, PromptTokens = PromptTokens, NewTokens = NewTokens, GroupSize = GroupSize, Rounds = rounds };
        var point = await new RolloutProfiler(model, Limits, TimeProvider.System).MeasureAsync(workload, threads: 1, prepack, default);

        // Each slot is filled `rounds` times, whole groups at a time; a prompt's last token is a completion's first input.
        Assert.Equal((slots * rounds + 1) / 2 * GroupSize * NewTokens, point.GeneratedTokens);
        Assert.Equal(workload.GeneratedTokens, point.GeneratedTokens);
        Assert.Equal(workload.Completions * (PromptTokens - 1), point.PromptTokensRequested);
        Assert.InRange(point.PromptTokensComputed, 1, workload.Prompts * (PromptTokens - 1));
        Assert.InRange(point.DecodeSteps, NewTokens, workload.GeneratedTokens);
        Assert.InRange(point.SlotUtilisation, 0, 1);
        Assert.Equal(sizeof(float) * Config.ParameterCount, point.WeightBytes);
        Assert.True(point.BytesPerStep > point.WeightBytes);
        Assert.True(point.KeyValueBytes > 0);
        Assert.True(point.WallSeconds >= point.DecodeSeconds);
        Assert.Equal(prepack, point.Prepack);
        Assert.InRange(point.HostShare, 0, 1);
        Assert.All([point.TokensPerSecond, point.DecodeTokensPerSecond, point.PrefillTokensPerSecond, point.MillisecondsPerStep], AssertPositive);
        Assert.All([point.DecodeShareOfBandwidth, point.DecodeShareOfMatrixRate, point.PrefillShareOfMatrixRate], AssertPositive);
    }

    [Fact]
    public async Task MeasureSwapsAsync_BusyEngine_FillsEveryTime()
    {
        using var folder = new TemporaryFolder();
        using var model = Model(folder);
        var workload = new RolloutWorkload { Slots = 2, PromptTokens = PromptTokens, NewTokens = NewTokens, GroupSize = GroupSize, Rounds = 1 };
        var swaps = await new RolloutProfiler(model, Limits, TimeProvider.System).MeasureSwapsAsync(workload, threads: 1, default);
        Assert.Equal([.. RolloutEngine.MultipliesDirectly ? ["direct"] : Array.Empty<string>(), "behind", "before"], swaps.Select(swap => swap.Prepack));
        Assert.All(swaps, swap =>
        {
            Assert.All([swap.BuildMilliseconds, swap.ProbeMilliseconds, swap.FullSpeedMilliseconds], AssertPositive);
            Assert.True(swap.SwitchMilliseconds >= 0 && swap.PauseMilliseconds >= swap.ProbeMilliseconds);
            Assert.True(swap.FirstTokenMilliseconds >= swap.BuildMilliseconds + swap.ProbeMilliseconds);
            Assert.InRange(swap.ProbeDifference, 0, 1e-4); // the engine's own tolerance: above it there is no swap
        });
    }

    [Fact]
    public void Measure_Learner_CountsBothLayouts()
    {
        using var folder = new TemporaryFolder();
        using var model = Model(folder);
        var workload = new LearnerWorkload { Groups = 2, GroupSize = 3, PromptTokens = PromptTokens, NewTokens = NewTokens, Steps = 2 };
        var (shared, repeated) = LearnerProfiler.Measure(model, workload, Limits, default);

        Assert.Equal(2 * (5 + 3 * 5), shared.ComputedTokens); // 2 prompts of 5, and of each completion of 6 all tokens but the last
        Assert.Equal(workload.SharedTokens, shared.ComputedTokens);
        Assert.Equal(workload.RepeatedTokens, repeated.ComputedTokens);
        Assert.True(shared.Flops < repeated.Flops);
        Assert.All([shared, repeated], point =>
        {
            Assert.Equal(workload.Tokens, point.Tokens);
            Assert.All(["forward", "head", "backward", "optimizer", "host"], name => Assert.Contains(name, point.Phases.Select(phase => phase.Name), StringComparer.Ordinal));
            Assert.Equal(point.Seconds, point.Phases.Sum(phase => phase.Seconds), 1e-3 * point.Seconds); // the timers themselves
            Assert.All(point.Phases, phase => Assert.True(double.IsFinite(phase.TokensPerSecond) && phase.Seconds >= 0));
            Assert.All([point.TokensPerSecond, point.ComputedTokensPerSecond, point.ShareOfMatrixRate], AssertPositive);
            Assert.Equal(sizeof(float) * Config.ParameterCount, point.Memory.WeightBytes);
            Assert.Equal(2 * point.Memory.WeightBytes, point.Memory.MomentBytes);
            if (point.Memory.PeakBytes is { } peak) Assert.True(peak > point.Memory.WeightBytes);
        });
    }

    [Fact]
    public void Save_Profile_IsReadBackAndHasItsTable()
    {
        using var folder = new TemporaryFolder();
        using var model = Model(folder);
        var workload = new LearnerWorkload { Groups = 1, GroupSize = 2, PromptTokens = PromptTokens, NewTokens = NewTokens, Steps = 1 };
        var (shared, repeated) = LearnerProfiler.Measure(model, workload, Limits, default);
        var profile = new LearnerProfile(ProfileContext.Look(TimeProvider.System), Limits, ProfiledModelInfo.Of(model), workload, shared, repeated);
        var path = ProfileFiles.Save(folder.At("out"), profile);

        var read = JsonSerializer.Deserialize(File.ReadAllBytes(path), ProfileJson.Default.LearnerProfile)!;
        Assert.Equal(profile.Context, read.Context);
        Assert.Equal(profile.Model, read.Model);
        Assert.Equal(profile.Shared.ComputedTokens, read.Shared.ComputedTokens);
        Assert.Equal(profile.SharingGain, read.SharingGain);
        Assert.Contains("| repeated", File.ReadAllText(folder.At("out", "learner.md")), StringComparison.Ordinal);
    }

    [Fact]
    public void Measure_SequencesBeyondTheModel_IsOneMessage()
    {
        using var folder = new TemporaryFolder();
        using var model = Model(folder);
        var mistake = Assert.Throws<UserErrorException>(() => LearnerProfiler.Measure(model, new LearnerWorkload { PromptTokens = 60, NewTokens = 5 }, Limits, default));
        Assert.Contains("65 tokens", mistake.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("folder", "tiny")]
    [InlineData(null, "small")]
    [InlineData("no such folder", null)]
    public void Open_NoUsableModel_IsOneMessage(string? folder, string? shape) =>
        Assert.Throws<UserErrorException>(() => ProfiledModel.Open(folder, shape, _ => { }));

    [Fact]
    public void Validated_NothingToDo_IsOneMessage()
    {
        Assert.Throws<UserErrorException>(() => new RolloutWorkload { Slots = 0 }.Validated());
        Assert.Throws<UserErrorException>(() => new LearnerWorkload { GroupSize = 1 }.Validated());
        Assert.Throws<UserErrorException>(() => new LearnerWorkload { Steps = 0 }.Validated());
    }

    private static void AssertPositive(double value) => Assert.True(double.IsFinite(value) && value > 0, $"{value}");

    private static ProfiledModel Model(TemporaryFolder folder)
    {
        HuggingFaceFolder.Create(folder.At("model"), Config, seed: 5);
        return ProfiledModel.Open(folder.At("model"), shape: null, _ => { });
    }
}
