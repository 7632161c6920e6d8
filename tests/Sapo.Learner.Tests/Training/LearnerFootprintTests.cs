using System.Globalization;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Model;
using Sapo.Rollout.Decoding;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Training;

/// <summary>What a learner holds is known beforehand: its buffers and kept activations to the byte, the head's work within a bound.</summary>
[Collection(nameof(WholeProcess))]
public sealed class LearnerFootprintTests
{
    private const int PromptTokens = 70, NewTokens = 150; // more than one tile of queries each

    public static TheoryData<string, int, bool> Cases()
    {
        var cases = new TheoryData<string, int, bool>();
        foreach (var architecture in (string[])["qwen3", "qwen2", "llama", "mistral", "qwen3_moe"])
            foreach (var groupSize in (int[])[1, 3])
                foreach (var recomputed in (bool[])[false, true]) cases.Add(architecture, groupSize, recomputed);
        return cases;
    }

    [Theory, MemberData(nameof(Cases))]
    public void Of_SequencesOfOneLength_IsWhatAPassKeeps(string architecture, int groupSize, bool recomputed)
    {
        using var folder = new TinyModel(PackingTests.Config(architecture) with { MaxPositions = 256 });
        var shape = new MiniBatchShape(2, groupSize, PromptTokens, NewTokens);
        var footprint = LearnerFootprint.Of(folder.Config, new LearnerOptions { ActivationCheckpointing = recomputed }, shape);
        using var loaded = new LoadedModel(folder.Folder, compute: new ComputeOptions(RecomputesActivations: recomputed));
        using var batch = new PackedTokens([Group(groupSize), Group(groupSize)], CPU);
        using var pass = loaded.Model.Forward(batch);
        var inputs = (long)folder.Config.LayerCount * batch.TokenCount * folder.Config.HiddenSize * sizeof(float);
        if (recomputed) Assert.Equal(inputs, pass.KeptBytes); // and one layer at a time on top of them
        else Assert.Equal(pass.KeptBytes, footprint.ActivationBytes);
        Assert.True(footprint.ActivationBytes >= pass.KeptBytes);
        Assert.Equal(loaded.Parameters.Values.numel() * sizeof(float), footprint.WeightBytes);
        Assert.Equal((footprint.WeightBytes, 2 * footprint.WeightBytes), (footprint.GradientBytes, footprint.MomentBytes));
    }

    [Fact]
    public void Of_ASmallerMicroBatch_NeedsItsPart()
    {
        var config = TinyModel.Qwen3();
        var shape = new MiniBatchShape(8, 4, PromptTokens, NewTokens);
        LearnerFootprint For(int tokens) => LearnerFootprint.Of(config, new LearnerOptions { MaxTokensPerMicroBatch = tokens }, shape);
        Assert.InRange((double)For((int)shape.Tokens / 4).ActivationBytes / For((int)shape.Tokens).ActivationBytes, 0.249, 0.251);
        Assert.Equal(For((int)shape.Tokens).ActivationBytes, For(int.MaxValue).ActivationBytes);
    }

    [Fact]
    public void Of_AnAdapter_TrainsLittleAndMergesACopy()
    {
        var config = TinyModel.Qwen3();
        var footprint = LearnerFootprint.Of(config, new LearnerOptions { Lora = new LoraOptions { Rank = 2 } }, new MiniBatchShape(1, 2, 3, 4));
        Assert.InRange(footprint.GradientBytes, 1, footprint.WeightBytes / 2);
        Assert.Equal(2 * footprint.GradientBytes, footprint.MomentBytes);
        Assert.Equal(footprint.WeightBytes, footprint.CopyBytes);
    }

    [Theory]
    [InlineData(1, 50, false)]
    [InlineData(1, 1200, false)] // all logits at once would be 700 MiB
    [InlineData(4, 300, false)]
    [InlineData(4, 300, true)]
    public void Head_LargeVocabularyAndAnyBatch_NeedsLessThan300Megabytes(int completions, int length, bool atOnce)
    {
        const long allowed = 300_000_000;
        using var folder = new TinyModel(TinyModel.Qwen3() with { VocabSize = 151_936, HiddenSize = 8, MaxPositions = 2048 });
        using var loaded = new LoadedModel(folder.Folder);
        using var batch = new PackedTokens([new TokenGroup([1], [.. Enumerable.Range(0, completions).Select(_ => new TokenRow([.. Enumerable.Range(0, length)]))], 1)], CPU);
        using var pass = loaded.Model.Forward(batch);
        NativeHeap.ReturnFreePages(); // or the head could live in what other tests left behind
        if (!TryResetPeak()) return; // this system does not tell
        var before = Status("VmRSS:");
        using var gradient = loaded.Model.TrainHead(pass, span => new HeadSlopes(span.Values.LogProbs, span.Values.Entropies), atOnce);
        Assert.InRange(Status("VmHWM:") - before, 1, allowed);
    }

    private static TokenGroup Group(int size) => new(new int[PromptTokens], [.. Enumerable.Range(0, size).Select(_ => new TokenRow(new int[NewTokens]))], 1);

    /// <summary>proc(5): writing 5 resets the peak to what is resident now.</summary>
    private static bool TryResetPeak()
    {
        const string file = "/proc/self/clear_refs";
        if (!File.Exists(file)) return false;
        try
        {
            File.WriteAllText(file, "5");
            return true;
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static long Status(string name) => 1024 * long.Parse(
        File.ReadLines("/proc/self/status").First(line => line.StartsWith(name, StringComparison.Ordinal))[name.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
}
