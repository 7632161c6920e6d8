using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Adapters;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Learner.Tests.Training;
using static TorchSharp.torch;

namespace Sapo.Learner.Tests.Model;

/// <summary>Sharing prompts, packing and chunking change how something is computed, never what: held in Float64, where only the order of sums differs.</summary>
public sealed class PackingTests
{
    private const double Tolerance = 1e-11; // Float64: sums of some hundred terms of size 1 to 100 in another order

    // Central differences in Float64 with step h: error h^2 from the third derivative and 1e-16 / h from rounding.
    private const double DifferenceStep = 1e-5, DifferenceTolerance = 1e-6;

    public static TheoryData<string> Architectures() => ["qwen3", "qwen2", "llama", "mistral", "qwen3_moe"];

    [Theory, MemberData(nameof(Architectures))]
    public void Groups_PromptsShared_EqualRowsOfTheirOwn(string architecture)
    {
        using var folder = new TinyModel(Config(architecture));
        using var loaded = new LoadedModel(folder.Folder, ScalarType.Float64, headChunkBytes: 1000); // several chunks of the head
        var groups = Groups(folder.Config);
        var shared = Run(loaded, groups, sharePrompts: true);
        var apart = Run(loaded, groups, sharePrompts: false);
        Near(apart.Values.LogProbs, shared.Values.LogProbs, "log-probs");
        Near(apart.Values.Entropies, shared.Values.Entropies, "entropies");
        foreach (var (name, gradient) in apart.Gradients) Near(gradient, shared.Gradients[name], name);
        Assert.True(shared.Tokens < apart.Tokens);
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Scores_InTilesOfAnySize_EqualOneTile(string architecture)
    {
        using var folder = new TinyModel(Config(architecture));
        using var loaded = new LoadedModel(folder.Folder, ScalarType.Float64);
        var groups = Groups(folder.Config);
        foreach (var sharePrompts in new[] { true, false })
        {
            var whole = Run(loaded, groups, sharePrompts, tileRows: 1000);
            foreach (var tileRows in new[] { 1, 2, 3 })
            {
                var tiled = Run(loaded, groups, sharePrompts, tileRows: tileRows);
                Near(whole.Values.LogProbs, tiled.Values.LogProbs, "log-probs");
                Near(whole.Values.Entropies, tiled.Values.Entropies, "entropies");
                foreach (var (name, gradient) in whole.Gradients) Near(gradient, tiled.Gradients[name], name);
            }
        }
    }

    [Fact]
    public void Tiles_OfALongRow_ComputeHalfOfTheSquareOrTheWindow()
    {
        using var block = new SequenceBlock(0, 1, [1024], null, CPU);
        Assert.InRange(block.TileElements(null) / (1024.0 * 1024), 0.5, 0.55); // half, and one tile's triangle per tile
        Assert.InRange(block.TileElements(64) / (1024.0 * 64), 1, 2); // a tile of 64 queries sees 127 keys
        Assert.Equal(1024, block.Tiles(64).Sum(tile => tile.Count));
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Groups_Together_EqualTheSumOfEachAlone(string architecture)
    {
        using var folder = new TinyModel(Config(architecture));
        using var loaded = new LoadedModel(folder.Folder, ScalarType.Float64);
        var groups = Groups(folder.Config);
        var together = Run(loaded, groups, sharePrompts: true);
        var alone = groups.Select((group, index) => Run(loaded, [group], sharePrompts: true, FirstTarget(groups, index))).ToArray();
        Near([.. alone.SelectMany(one => one.Values.LogProbs)], together.Values.LogProbs, "log-probs");
        foreach (var (name, gradient) in together.Gradients)
            Near(gradient, [.. gradient.Select((_, element) => alone.Sum(one => one.Gradients[name][element]))], name);
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Gradients_EveryParameter_EqualFiniteDifferences(string architecture)
    {
        using var folder = new TinyModel(Config(architecture));
        using var loaded = new LoadedModel(folder.Folder, ScalarType.Float64);
        HoldToDifferences(architecture, loaded, Groups(folder.Config));
    }

    [Theory, MemberData(nameof(Architectures))]
    public void Gradients_OfAdapters_EqualFiniteDifferences(string architecture)
    {
        var lora = new LoraOptions
        {
            Rank = 3, Alpha = 4, UseRslora = true, TargetPattern = @".*\.(q_proj|v_proj|o_proj|gate|up_proj|down_proj)", RankPattern = new Dictionary<string, int>(StringComparer.Ordinal) { ["v_proj"] = 2 },
        };
        using var folder = new TinyModel(Config(architecture));
        using var loaded = new LoadedModel(folder.Folder, ScalarType.Float64, adapter: config => new LowRankAdapter(lora, config, ScalarType.Float64, CPU));
        loaded.Adapter.Initialize(seed: 4);
        loaded.Adapter.Parameters.Values.add_(tensor(RandomDirection(new Random(6), loaded.Adapter.Parameters.Values.shape[0]))); // B is no longer 0
        HoldToDifferences(architecture, loaded, Groups(folder.Config));
    }

    [Fact]
    public void Plan_GroupsOfVeryDifferentLength_AreNotPaddedToEachOther()
    {
        TokenGroup Group(int prompt, int completion) => new(new int[prompt], [.. Enumerable.Range(0, 4).Select(_ => new TokenRow(new int[completion]))], 1);
        TokenGroup[] groups = [Group(400, 300), Group(4, 3), Group(390, 310), Group(5, 4)];
        using var packed = new PackedTokens(groups, CPU);
        double needed = groups.Sum(group => group.Prompt.Length * group.Prompt.Length + 4.0 * (group.Rows[0].TokenIds.Length - 1) * (group.Prompt.Length + group.Rows[0].TokenIds.Length - 1));
        Assert.InRange(packed.ScoreElements / needed, 1, 1.25);
        Assert.Equal(4, packed.Blocks.Count); // long prompts and completions, short prompts and completions
    }

    private static void HoldToDifferences(string architecture, LoadedModel loaded, TokenGroup[] groups)
    {
        var gradients = Run(loaded, groups, sharePrompts: true).Gradients;
        var random = new Random(3);
        foreach (var slot in loaded.Weights.Trained.InCheckpointOrder)
        {
            var direction = RandomDirection(random, slot.Count);
            var along = gradients[slot.Name].Zip(direction, (gradient, d) => gradient * d).Sum();
            var difference = (Moved(loaded, groups, slot, direction, DifferenceStep) - Moved(loaded, groups, slot, direction, -DifferenceStep)) / (2 * DifferenceStep);
            Assert.True(Math.Abs(along - difference) <= DifferenceTolerance * Math.Max(1, Math.Abs(along)), $"{architecture} {slot.Name}: {along:R} by the backward pass, {difference:R} by differences");
        }
    }

    internal static ModelConfig Config(string architecture)
    {
        var config = TinyModel.Qwen3() with { ModelType = architecture, QueryKeyNorm = architecture is "qwen3" or "qwen3_moe", QueryKeyValueBias = architecture == "qwen2" };
        return architecture switch
        {
            "llama" => config with { TieWordEmbeddings = false, QueryKeyValueBias = true, OutputBias = true, MlpBias = true, RopeScaling = new RopeScaling.Linear(2) },
            "mistral" => config with { SlidingWindows = [3, 3] },
            "qwen3_moe" => config with { Mixture = new MixtureConfig(5, 2, 12, NormalizeTopK: true, [true, false], 0.01) },
            _ => config,
        };
    }

    /// <summary>Prompts and completions of different lengths, a group of one, an empty completion, a completion of one token, two temperatures.</summary>
    internal static TokenGroup[] Groups(ModelConfig config)
    {
        var random = new Random(5);
        int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(config.VocabSize))];
        return
        [
            new TokenGroup(Ids(4), [new TokenRow(Ids(3)), new TokenRow(Ids(7)), new TokenRow(Ids(1))], 1),
            new TokenGroup(Ids(6), [new TokenRow(Ids(5))], 0.7),
            new TokenGroup(Ids(2), [new TokenRow(Ids(2)), new TokenRow([]), new TokenRow(Ids(4))], 0.7),
            new TokenGroup(Ids(5), [new TokenRow(Ids(1)), new TokenRow(Ids(1))], 1),
        ];
    }

    private static double[] RandomDirection(Random random, long count) => [.. Enumerable.Range(0, (int)count).Select(_ => random.NextDouble() - 0.5)];

    private static int FirstTarget(TokenGroup[] groups, int index) => groups[..index].Sum(group => group.Rows.Sum(row => row.TokenIds.Length));

    /// <summary>The loss is sum sin(i) l_i + cos(i) H_i over the targets, counted from <paramref name="firstTarget"/>.</summary>
    private static (HeadResult Values, Dictionary<string, double[]> Gradients, int Tokens) Run(
        LoadedModel loaded, TokenGroup[] groups, bool sharePrompts, int firstTarget = 0, int tileRows = SequenceBlock.DefaultTileRows)
    {
        using var batch = new PackedTokens(groups, CPU, sharePrompts, tileRows);
        var (slopes, entropySlopes) = Slopes(batch.Targets.Length, firstTarget);
        return (loaded.Train(batch, slopes, entropySlopes), loaded.TakeGradients(), batch.TokenCount);
    }

    private static double Moved(LoadedModel loaded, TokenGroup[] groups, ParameterSlot slot, double[] direction, double step)
    {
        using var scope = NewDisposeScope();
        using var batch = new PackedTokens(groups, CPU);
        var (weights, move) = (loaded.Weights.Trained[slot.Name].Value, tensor(direction).view(slot.Shape));
        weights.add_(move, step);
        var values = loaded.Model.Evaluate(batch);
        weights.add_(move, -step);
        var (slopes, entropySlopes) = Slopes(batch.Targets.Length, 0);
        return values.LogProbs.Zip(slopes, (l, slope) => l * slope).Sum() + values.Entropies.Zip(entropySlopes, (entropy, slope) => entropy * slope).Sum();
    }

    internal static (double[] LogProbs, double[] Entropies) Slopes(int count, int first) =>
        ([.. Enumerable.Range(first, count).Select(i => Math.Sin(i))], [.. Enumerable.Range(first, count).Select(i => Math.Cos(i))]);

    private static void Near(double[] expected, double[] found, string what)
    {
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - found[i]) <= Tolerance * Math.Max(1, Math.Abs(expected[i])), $"{what}[{i}]: {expected[i]:R} and {found[i]:R}");
    }
}
