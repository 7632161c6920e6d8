using System.Text.Json;
using Sapo.Sync.Graphs;

namespace Sapo.Parity.Graph;

/// <summary>The sampling head alone, run by ONNX Runtime, against distributions by Hugging Face transformers and draws in float64.</summary>
public sealed class SamplingHeadTests
{
    private const double LogProbTolerance = 1e-5; // rounding of float32 log-probs down to about -100
    private const double OwnErrorFactor = 4; // where the reference library's own float32 is worse than that
    private const double UnsafeMargin = 1e-6; // a threshold this near to a token may fall either way in float32
    private const double MassRounding = 1e-5; // error of a float32 share of probability over a large vocabulary

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_AnyCut_GivesTheReferenceDistribution()
    {
        var logitsByName = LogitsByName();
        var cases = Elements("transformers.json", "cases").Where(item => SamplingCase.HasOnlyCuts(item.GetProperty("options"))).ToList();
        foreach (var item in cases) CheckDistribution(item, logitsByName[item.GetProperty("logits").GetString()!]);
        Golden.Report("sampled distributions", cases.Count);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_RowsOfManyKinds_DoNotChangeEachOther()
    {
        var logitsByName = LogitsByName();
        var batches = 0;
        foreach (var group in Elements("transformers.json", "cases").Where(item => SamplingCase.HasOnlyCuts(item.GetProperty("options"))).GroupBy(item => item.GetProperty("logits").GetString()!, StringComparer.Ordinal))
        {
            var logits = logitsByName[group.Key];
            SamplingCase[] rows = [.. group.Select(item => SamplingCase.Read(item.GetProperty("options")))];
            float[] uniform = [.. rows.Select((_, i) => (i + 0.5f) / rows.Length)];
            using var head = Head(logits.Length);
            var together = head.Sample(Repeat(logits, rows.Length), SamplingCase.Draws(rows, uniform));
            for (var i = 0; i < rows.Length; i++)
            {
                var alone = head.Sample(logits, SamplingCase.Draws([rows[i]], [uniform[i]]));
                Assert.Equal((alone.Token[0], alone.LogProb[0], alone.KeptCount[0]), (together.Token[i], together.LogProb[i], together.KeptCount[i]));
                Assert.Equal(alone.KeptIds[0].Where(id => id >= 0), together.KeptIds[i].Where(id => id >= 0));
            }
            batches++;
        }
        Golden.Report("mixed batches", batches);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_GivenUniforms_DrawsTheReferenceTokens()
    {
        var logitsByName = LogitsByName();
        var drawn = 0;
        foreach (var item in Elements("inverse_cdf.json", "cases").Where(item => SamplingCase.HasOnlyCuts(item.GetProperty("options"))))
        {
            var logits = item.TryGetProperty("logits_inline", out var inline) && inline.ValueKind == JsonValueKind.Array ? Floats(inline) : logitsByName[item.GetProperty("logits").GetString()!];
            var draws = item.GetProperty("draws").EnumerateArray().ToArray();
            using var head = Head(logits.Length);
            var options = SamplingCase.Read(item.GetProperty("options"));
            if (options.Margin(logits) < UnsafeMargin) continue;
            var sampled = head.Sample(Repeat(logits, draws.Length), SamplingCase.Draws([.. draws.Select(_ => options)], [.. draws.Select(draw => (float)draw.GetProperty("u").GetDouble())]));
            for (var i = 0; i < draws.Length; i++)
            {
                var accepted = draws[i].GetProperty("accept").EnumerateArray().Select(id => id.GetInt64());
                Assert.True(accepted.Contains(sampled.Token[i]), $"{item.GetProperty("options")} u = {draws[i].GetProperty("u")}: {sampled.Token[i]}, reference {draws[i].GetProperty("token")}");
            }
            drawn += draws.Length;
        }
        Golden.Report("draws by inverse CDF", drawn);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_Greedy_TakesTheLowestOfTheLargest()
    {
        var logitsByName = LogitsByName();
        var checkedVectors = 0;
        foreach (var item in Elements("transformers.json", "greedy"))
        {
            var logits = logitsByName[item.GetProperty("logits").GetString()!];
            using var head = Head(logits.Length);
            var sampled = head.Sample(logits, Draws.Plain(1, temperature: 0) with { Uniform = [0.9f] });
            Assert.Equal(item.GetProperty("token").GetInt64(), sampled.Token[0]);
            Assert.Equal(0, sampled.LogProb[0]);
            checkedVectors++;
        }
        Golden.Report("greedy vectors", checkedVectors);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_FullVocabulary_GivesTheReferenceDrawsAndLogProbs()
    {
        var cases = Elements("vocabulary_151936.json", "cases").ToList();
        foreach (var group in cases.GroupBy(item => item.GetProperty("vocab").GetInt32()))
        {
            using var head = Head(group.Key);
            foreach (var item in group) CheckLargeVocabulary(head, item, FormulaLogits.Make(item, group.Key));
        }
        foreach (var check in Elements("vocabulary_151936.json", "formula_check"))
            Assert.Equal(check.GetProperty("logit").GetSingle(), FormulaLogits.At(check, check.GetProperty("i").GetInt32()));
        Golden.Report("full vocabularies", cases.Count);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Head_LogitThatIsNoNumber_MakesTheRowsLogProbsNaN(float poison)
    {
        using var head = Head(600);
        float[] sound = [.. Enumerable.Range(0, 600).Select(i => i * 0.01f)], broken = [.. sound];
        broken[17] = poison;
        foreach (var truncate in new[] { false, true })
        {
            var draws = Draws.Plain(4) with { Temperature = [1, 1, 0, 1], TopK = [0, 0, 0, 5], Uniform = [0.5f, 0.5f, 0.5f, 0.5f], Truncate = truncate };
            var sampled = head.Sample([.. sound, .. broken, .. broken, .. broken], draws);
            Assert.True(float.IsFinite(sampled.LogProb[0]));
            Assert.All(sampled.LogProb[1..], value => Assert.True(float.IsNaN(value)));
        }
    }

    [Fact]
    public void Head_ForcedToken_HasItsLogProbInTheCutDistribution()
    {
        using var head = Head(4); // probabilities 0.4, 0.3, 0.2, 0.1; top-k 2 leaves 4/7 and 3/7
        var logits = new[] { 0.4, 0.3, 0.2, 0.1 }.Select(p => (float)Math.Log(p)).ToArray();
        var draws = Draws.Plain(3) with { TopK = [2, 2, 2], Forced = [1, 2, -1], Truncate = true };
        var sampled = head.Sample(Repeat(logits, 3), draws);
        Assert.Equal([1, 2, 0], sampled.Token);
        Assert.Equal(Math.Log(3.0 / 7), sampled.LogProb[0], LogProbTolerance);
        Assert.Equal(Math.Log(0.3), sampled.UntruncatedLogProb[0], LogProbTolerance);
        Assert.Equal(float.NegativeInfinity, sampled.LogProb[1]);
        Assert.Equal([2, 2, 2], sampled.KeptCount);
        Assert.All(sampled.KeptIds, ids => Assert.Equal([0, 1], ids));
    }

    [Fact]
    public void Head_WithoutTruncation_KeepsEverythingAndListsNothing()
    {
        using var head = Head(5);
        var sampled = head.Sample(new float[10], Draws.Plain(2) with { TopK = [1, 1], Uniform = [0.5f, 0.99f] });
        Assert.Equal([2, 4], sampled.Token);
        Assert.Equal([5, 5], sampled.KeptCount);
        Assert.All(sampled.KeptIds, Assert.Empty);
    }

    // Every id is forced once, so that the whole distribution is seen.
    private static void CheckDistribution(JsonElement item, float[] logits)
    {
        var what = $"{item.GetProperty("id")} {item.GetProperty("logits")} {item.GetProperty("options")}";
        var options = SamplingCase.Read(item.GetProperty("options"));
        using var head = Head(logits.Length);
        var every = Enumerable.Range(0, logits.Length).Select(id => (long)id).ToArray();
        var sampled = head.Sample(Repeat(logits, logits.Length), SamplingCase.Draws([.. every.Select(_ => options)], new float[logits.Length]) with { Forced = every });
        long[] kept = [.. item.GetProperty("kept").EnumerateArray().Select(id => id.GetInt64())];
        var tied = item.GetProperty("tied_at_cut").EnumerateArray().Select(id => id.GetInt64()).ToHashSet();
        var certain = item.GetProperty("kept_in_float32_same").GetBoolean() && !(item.GetProperty("margin") is { ValueKind: JsonValueKind.Number } margin && margin.GetDouble() < UnsafeMargin);
        if (!certain) return;
        if (options.Cuts)
        {
            Assert.True(kept.Length == sampled.KeptCount[0], $"{what}: {sampled.KeptCount[0]} kept, reference {kept.Length}");
            Assert.Equal(kept.Where(id => !tied.Contains(id)), sampled.KeptIds[0].Where(id => id >= 0 && !tied.Contains(id)).Order());
        }
        var tolerance = Math.Max(LogProbTolerance, OwnErrorFactor * item.GetProperty("max_abs_logprob_diff_float32").GetDouble());
        var reference = kept.Zip(item.GetProperty("logprobs").EnumerateArray().Select(value => value.GetDouble())).ToDictionary(pair => pair.First, pair => pair.Second);
        var untruncated = kept.Zip(item.GetProperty("logprobs_untruncated").EnumerateArray().Select(value => value.GetDouble())).ToDictionary(pair => pair.First, pair => pair.Second);
        foreach (var id in every.Where(id => !tied.Contains(id)))
        {
            var expected = reference.GetValueOrDefault(id, double.NegativeInfinity);
            Assert.True(Math.Abs(sampled.LogProb[id] - expected) <= tolerance || (double.IsNegativeInfinity(expected) && float.IsNegativeInfinity(sampled.LogProb[id])), $"{what}: id {id} has {sampled.LogProb[id]}, reference {expected}");
            if (untruncated.TryGetValue(id, out var plain)) Assert.Equal(plain, sampled.UntruncatedLogProb[id], tolerance);
        }
    }

    private static void CheckLargeVocabulary(GraphSession head, JsonElement item, float[] logits)
    {
        var what = $"{item.GetProperty("kind")} {item.GetProperty("scale")} {item.GetProperty("options")}";
        var options = SamplingCase.Read(item.GetProperty("options"));
        var draws = item.GetProperty("draws").EnumerateArray().ToArray();
        foreach (var draw in draws)
        {
            var sampled = head.Sample(logits, SamplingCase.Draws([options], [(float)draw.GetProperty("u").GetDouble()]));
            var accept = draw.GetProperty("accept");
            Assert.InRange(sampled.Token[0], accept.GetProperty("first").GetInt64(), accept.GetProperty("last").GetInt64());
        }
        var probes = item.GetProperty("top20").EnumerateArray().Concat(item.GetProperty("probe").EnumerateArray()).ToArray();
        long[] forced = [.. probes.Select(probe => probe.GetProperty("id").GetInt64())];
        var probed = head.Sample(Repeat(logits, forced.Length), SamplingCase.Draws([.. forced.Select(_ => options)], new float[forced.Length]) with { Forced = forced });
        for (var i = 0; i < probes.Length; i++)
        {
            if (probes[i].GetProperty("logprob") is not { ValueKind: JsonValueKind.Number } expected) continue;
            Assert.True(Math.Abs(expected.GetDouble() - probed.LogProb[i]) <= LogProbTolerance, $"{what}: id {forced[i]} has {probed.LogProb[i]}, reference {expected}");
        }
        if (options.Cuts) CheckLargeKeptSet(head, item, logits, options, probed, what);
    }

    private static void CheckLargeKeptSet(GraphSession head, JsonElement item, float[] logits, SamplingCase options, Sampled probed, string what)
    {
        var (found, expected) = (probed.KeptCount[0], item.GetProperty("kept_count").GetInt64());
        var ids = probed.KeptIds[0].Where(id => id >= 0).ToArray();
        Assert.Equal(found, ids.Length);
        var leastLikely = head.Sample(logits, SamplingCase.Draws([options], [0]) with { Forced = [ids[^1]] }).LogProb[0];
        var unsure = options.TopP < 1 ? (item.GetProperty("margin").GetDouble() + MassRounding) / Math.Exp(leastLikely) : 0;
        Assert.True(Math.Abs(found - expected) <= unsure, $"{what}: {found} kept, reference {expected}, tolerated {unsure}");
        if (found != expected) return;
        Assert.Equal((item.GetProperty("kept_id_sum").GetInt64(), item.GetProperty("kept_first").GetInt64(), item.GetProperty("kept_last").GetInt64()), (ids.Sum(), ids.Min(), ids.Max()));
    }

    private static GraphSession Head(int vocabulary) => new(OnnxGraphWriter.HeadGraph(vocabulary));

    private static float[] Repeat(float[] logits, int rows) => [.. Enumerable.Repeat(logits, rows).SelectMany(row => row)];

    private static Dictionary<string, float[]> LogitsByName()
    {
        if (!File.Exists(Golden.PathOf("sampling", "logits.json"))) return [];
        using var document = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("sampling", "logits.json")));
        return document.RootElement.EnumerateObject().ToDictionary(pair => pair.Name, pair => Floats(pair.Value), StringComparer.Ordinal);
    }

    private static IEnumerable<JsonElement> Elements(string file, string list)
    {
        if (!File.Exists(Golden.PathOf("sampling", file))) return [];
        using var document = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("sampling", file)));
        return [.. document.RootElement.Clone().GetProperty(list).EnumerateArray()];
    }

    private static float[] Floats(JsonElement list) => [.. list.EnumerateArray().Select(value => value.ValueKind == JsonValueKind.String ? float.NegativeInfinity : value.GetSingle())];
}

/// <summary>The options of one reference case that this head has.</summary>
internal sealed record SamplingCase(float Temperature, long TopK, float TopP, float MinP)
{
    private static readonly string[] Known = ["temperature", "top_k", "top_p", "min_p"];

    public bool Cuts => TopK > 0 || TopP < 1 || MinP > 0;

    /// <summary>False for cases with penalties, which the engine does not offer.</summary>
    public static bool HasOnlyCuts(JsonElement options) => options.EnumerateObject().All(option => Known.Contains(option.Name));

    public static SamplingCase Read(JsonElement options) => new(
        options.TryGetProperty("temperature", out var temperature) ? temperature.GetSingle() : 1,
        options.TryGetProperty("top_k", out var topK) ? topK.GetInt64() : 0,
        options.TryGetProperty("top_p", out var topP) ? topP.GetSingle() : 1,
        options.TryGetProperty("min_p", out var minP) ? minP.GetSingle() : 0);

    /// <summary>How near top-p or min-p come to cutting another set, by their definitions in float64: 1 when neither is on, 0 when top-p cuts between equal scores.</summary>
    public double Margin(float[] logits)
    {
        var best = logits.Max();
        var order = logits.Select(logit => Math.Exp(((double)logit - best) / Temperature)).OrderDescending().ToArray();
        var survivors = TopK > 0 ? order.TakeWhile((ratio, rank) => rank < TopK || ratio == order[TopK - 1]).ToArray() : order;
        var (margin, before, mass, previous) = (1.0, 0.0, survivors.Sum(), 0.0);
        foreach (var ratio in survivors)
        {
            if (TopP < 1) margin = Math.Min(margin, Math.Abs(before / mass - TopP));
            if (ratio == previous && before / mass >= TopP && (before - ratio) / mass < TopP) return 0;
            previous = ratio;
            if (MinP > 0) margin = Math.Min(margin, Math.Abs(ratio - MinP));
            before += ratio;
        }
        return margin;
    }

    public static Draws Draws(SamplingCase[] rows, float[] uniform) => Graph.Draws.Plain(rows.Length) with
    {
        Uniform = uniform,
        Temperature = [.. rows.Select(row => row.Temperature)],
        TopK = [.. rows.Select(row => row.TopK)],
        TopP = [.. rows.Select(row => row.TopP)],
        MinP = [.. rows.Select(row => row.MinP)],
        Truncate = rows.Any(row => row.Cuts),
    };
}

/// <summary>Logits over a full vocabulary by the formula of the reference set.</summary>
internal static class FormulaLogits
{
    public static float[] Make(JsonElement item, int vocabulary) => [.. Enumerable.Range(0, vocabulary).Select(i => At(item, i))];

    public static float At(JsonElement item, int i)
    {
        var hash = ((ulong)i * 2654435761 + item.GetProperty("shift").GetUInt64()) % (1UL << 32);
        var t = 2 * (hash / 4294967296.0) - 1;
        var cube = t * t * t;
        var ninth = cube * cube * cube;
        var scale = item.GetProperty("scale").GetDouble();
        return (float)(item.GetProperty("kind").GetString() == "cubic" ? scale * cube : scale * (ninth * ninth * ninth) + t);
    }
}
