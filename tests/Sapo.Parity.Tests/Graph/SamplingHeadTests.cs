using System.Text.Json;
using Sapo.Sync.Graphs;

namespace Sapo.Parity.Graph;

/// <summary>The sampling head alone, in standard operators and (direct) as our own, run by ONNX Runtime, against distributions by Hugging Face transformers and draws in float64.</summary>
public sealed class SamplingHeadTests
{
    private const double LogProbTolerance = 1e-5; // rounding of float32 log-probs down to about -100
    private const double OwnErrorFactor = 4; // where the reference library's own float32 is worse than that
    private const double UnsafeMargin = 1e-6; // a threshold this near to a token may fall either way in float32
    private const double MassRounding = 1e-5; // error of a float32 share of probability over a large vocabulary

    [Theory]
    [InlineData("transformers.json", false, false), InlineData("transformers.json", false, true)]
    [InlineData("vllm.json", true, false), InlineData("vllm.json", true, true)] // min-p before top-k and top-p
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_AnyOptions_GivesTheReferenceDistribution(string file, bool minPFirst, bool direct)
    {
        var logitsByName = LogitsByName();
        var (cases, unsure) = (0, 0);
        foreach (var group in Elements(file, "cases").GroupBy(item => item.GetProperty("logits").GetString()!, StringComparer.Ordinal))
        {
            using var head = Head(logitsByName[group.Key].Length, direct);
            foreach (var item in group)
            {
                cases++;
                if (!CheckDistribution(head, item, logitsByName[group.Key], minPFirst)) unsure++;
            }
        }
        Golden.Report($"distributions of {file}, {unsure} of them cut so near to a token that either side is right,", cases);
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_RowsOfManyKinds_DoNotChangeEachOther(bool direct)
    {
        var logitsByName = LogitsByName();
        var batches = 0;
        var cases = Elements("transformers.json", "cases").Select(item => (item, false)).Concat(Elements("vllm.json", "cases").Select(item => (item, true)));
        foreach (var group in cases.GroupBy(pair => pair.item.GetProperty("logits").GetString()!, StringComparer.Ordinal))
        {
            var logits = logitsByName[group.Key];
            SamplingCase[] rows = [.. group.Select(pair => SamplingCase.Read(pair.item.GetProperty("options"), pair.Item2))];
            float[] uniform = [.. rows.Select((_, i) => (i + 0.5f) / rows.Length)];
            using var head = Head(logits.Length, direct);
            var together = head.Sample(Repeat(logits, rows.Length), SamplingCase.Draws(rows, uniform) with { Alternatives = [.. rows.Select((_, i) => 1 + i % 3L)] });
            for (var i = 0; i < rows.Length; i++)
            {
                var alone = head.Sample(logits, SamplingCase.Draws([rows[i]], [uniform[i]]) with { Alternatives = [3] });
                Assert.Equal(
                    (alone.Token[0], alone.LogProb[0], alone.UntruncatedLogProb[0], alone.KeptCount[0]),
                    (together.Token[i], together.LogProb[i], together.UntruncatedLogProb[i], together.KeptCount[i]));
                Assert.Equal(alone.KeptIds[0].Where(id => id >= 0), together.KeptIds[i].Where(id => id >= 0));
                var listed = together.AlternativeIds[i].Length; // as many as the row that wants most
                Assert.Equal(alone.AlternativeIds[0][..listed], together.AlternativeIds[i]);
                Assert.Equal(alone.AlternativeLogProbs[0][..listed], together.AlternativeLogProbs[i]);
            }
            batches++;
        }
        Golden.Report("mixed batches", batches);
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_GivenUniforms_DrawsTheReferenceTokens(bool direct)
    {
        var logitsByName = LogitsByName();
        var drawn = 0;
        foreach (var item in Elements("inverse_cdf.json", "cases"))
        {
            var logits = item.TryGetProperty("logits_inline", out var inline) && inline.ValueKind == JsonValueKind.Array ? Floats(inline) : logitsByName[item.GetProperty("logits").GetString()!];
            var draws = item.GetProperty("draws").EnumerateArray().ToArray();
            using var head = Head(logits.Length, direct);
            var options = SamplingCase.Read(item.GetProperty("options"));
            if (ReferenceDistribution.Of(logits, options).Margin < UnsafeMargin) continue;
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

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_Greedy_TakesTheLowestOfTheLargest(bool direct)
    {
        var logitsByName = LogitsByName();
        var checkedVectors = 0;
        foreach (var item in Elements("transformers.json", "greedy"))
        {
            var logits = logitsByName[item.GetProperty("logits").GetString()!];
            using var head = Head(logits.Length, direct);
            var sampled = head.Sample(logits, Draws.Plain(1, temperature: 0) with { Uniform = [0.9f] });
            Assert.Equal(item.GetProperty("token").GetInt64(), sampled.Token[0]);
            Assert.Equal(0, sampled.LogProb[0]);
            checkedVectors++;
        }
        Golden.Report("greedy vectors", checkedVectors);
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Head_FullVocabulary_GivesTheReferenceDrawsAndLogProbs(bool direct)
    {
        var cases = Elements("vocabulary_151936.json", "cases").ToList();
        foreach (var group in cases.GroupBy(item => item.GetProperty("vocab").GetInt32()))
        {
            using var head = Head(group.Key, direct);
            foreach (var item in group) CheckLargeVocabulary(head, item, FormulaLogits.Make(item, group.Key));
        }
        foreach (var check in Elements("vocabulary_151936.json", "formula_check"))
            Assert.Equal(check.GetProperty("logit").GetSingle(), FormulaLogits.At(check, check.GetProperty("i").GetInt32()));
        Golden.Report("full vocabularies", cases.Count);
    }

    [Theory]
    [InlineData(float.NaN, false), InlineData(float.NaN, true)]
    [InlineData(float.PositiveInfinity, false), InlineData(float.PositiveInfinity, true)]
    public void Head_LogitThatIsNoNumber_MakesTheRowsLogProbsNaN(float poison, bool direct)
    {
        using var head = Head(600, direct);
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

    [Theory]
    [InlineData(false), InlineData(true)]
    public void Head_ForcedToken_HasItsLogProbInTheCutDistribution(bool direct)
    {
        using var head = Head(4, direct); // probabilities 0.4, 0.3, 0.2, 0.1; top-k 2 leaves 4/7 and 3/7
        var logits = new[] { 0.4, 0.3, 0.2, 0.1 }.Select(p => (float)Math.Log(p)).ToArray();
        var draws = Draws.Plain(3) with { TopK = [2, 2, 2], Forced = [1, 2, -1], Truncate = true, KeptLimit = 3 };
        var sampled = head.Sample(Repeat(logits, 3), draws);
        Assert.Equal([1, 2, 0], sampled.Token);
        Assert.Equal(Math.Log(3.0 / 7), sampled.LogProb[0], LogProbTolerance);
        Assert.Equal(Math.Log(0.3), sampled.UntruncatedLogProb[0], LogProbTolerance);
        Assert.Equal(float.NegativeInfinity, sampled.LogProb[1]);
        Assert.Equal([2, 2, 2], sampled.KeptCount);
        Assert.All(sampled.KeptIds, ids => Assert.Equal([0, 1, -1], ids));
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    public void Head_Penalties_AreInBothLogProbsAndInTheAlternatives(bool direct)
    {
        // Logits 2, 1, 0, -1; prompt [0], output [1, 1, 3]; repetition 1.25: 1.6, 0.8, 0, -1.25; frequency 0.5 twice for 1, once for 3:
        // 1.6, -0.2, 0, -1.75; presence 0.25: 1.6, -0.45, 0, -2.
        double[] penalised = [1.6, -0.45, 0, -2.0];
        var logSum = Math.Log(penalised.Sum(Math.Exp));
        using var head = Head(4, direct);
        var draws = Draws.Plain(5) with
        {
            Repetition = [1.25f, 1.25f, 1.25f, 1.25f, 1], Frequency = [0.5f, 0.5f, 0.5f, 0.5f, 0], Presence = [0.25f, 0.25f, 0.25f, 0.25f, 0],
            History = [[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 1, 3], []], PromptLength = [1, 1, 1, 1, 0], Forced = [0, 1, 2, 3, -1],
            Temperature = [1, 1, 1, 1, 0], Alternatives = [4, 4, 4, 4, 1],
        };
        var sampled = head.Sample(Repeat([2, 1, 0, -1], 5), draws);
        for (var id = 0; id < 4; id++)
        {
            Assert.Equal(penalised[id] - logSum, sampled.LogProb[id], LogProbTolerance);
            Assert.Equal(sampled.LogProb[id], sampled.UntruncatedLogProb[id]);
            Assert.Equal([0, 2, 1, 3], sampled.AlternativeIds[id]);
            Assert.Equal(new[] { 0, 2, 1, 3 }.Select(other => sampled.LogProb[other]), sampled.AlternativeLogProbs[id]);
        }
        Assert.Equal((0, 0f), (sampled.Token[4], sampled.LogProb[4])); // the row without a history is as it was
        Assert.Equal(2 - Math.Log(Math.Exp(2) + Math.Exp(1) + 1 + Math.Exp(-1)), sampled.UntruncatedLogProb[4], LogProbTolerance);
    }

    [Theory]
    [InlineData(600, 40, false), InlineData(600, 40, true)] // cut among the most likely that are sorted first
    [InlineData(600, 520, false), InlineData(600, 520, true)] // all are sorted
    [InlineData(20, 15, false), InlineData(20, 15, true)]
    public void Head_KeptLimit_ListsTheMostLikelyAndCountsAll(int vocabulary, int topK, bool direct)
    {
        using var head = Head(vocabulary, direct);
        float[] logits = [.. Enumerable.Range(0, vocabulary).Select(id => -0.01f * id)];
        foreach (var limit in new long[] { 1, 10, topK, 700 })
        {
            var sampled = head.Sample(logits, Draws.Plain(1) with { TopK = [topK], Truncate = true, KeptLimit = limit });
            Assert.Equal(topK, sampled.KeptCount[0]);
            Assert.Equal(limit, sampled.KeptIds[0].Length);
            var listed = (int)Math.Min(limit, topK);
            Assert.Equal(Enumerable.Range(0, listed).Select(id => (long)id), sampled.KeptIds[0][..listed]);
            Assert.All(sampled.KeptIds[0][listed..], id => Assert.Equal(-1, id));
        }
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    public void Head_WithoutTruncation_KeepsEverythingAndListsNothing(bool direct)
    {
        using var head = Head(5, direct);
        var sampled = head.Sample(new float[10], Draws.Plain(2) with { TopK = [1, 1], Uniform = [0.5f, 0.99f] });
        Assert.Equal([2, 4], sampled.Token);
        Assert.Equal([5, 5], sampled.KeptCount);
        Assert.All(sampled.KeptIds, Assert.Empty);
    }

    // Every id is forced once, so that the whole distribution is seen. False: which ids are kept depends on rounding, so that only the rest is compared.
    private static bool CheckDistribution(GraphSession head, JsonElement item, float[] logits, bool minPFirst)
    {
        var what = $"{item.GetProperty("id")} {item.GetProperty("logits")} {item.GetProperty("options")}";
        var options = SamplingCase.Read(item.GetProperty("options"), minPFirst);
        var every = Enumerable.Range(0, logits.Length).Select(id => (long)id).ToArray();
        var sampled = head.Sample(Repeat(logits, logits.Length), SamplingCase.Draws([.. every.Select(_ => options)], new float[logits.Length]) with { Forced = every, KeptLimit = logits.Length });
        var kept = item.GetProperty("kept").EnumerateArray().Select(id => id.GetInt64()).ToArray();
        var tied = item.GetProperty("tied_at_cut").EnumerateArray().Select(id => id.GetInt64()).ToHashSet();
        var ownError = item.GetProperty("max_abs_logprob_diff_float32") is { ValueKind: JsonValueKind.Number } error ? error.GetDouble() : 0; // none where it keeps other ids
        var tolerance = Math.Max(LogProbTolerance, OwnErrorFactor * ownError);
        foreach (var (id, expected) in kept.Zip(item.GetProperty("logprobs_untruncated").EnumerateArray().Select(value => value.GetDouble())))
            AssertClose(expected, sampled.UntruncatedLogProb[id], tolerance, $"{what}: id {id} before truncation");
        Assert.InRange(sampled.LogProb.Sum(logProb => Math.Exp(logProb)), 1 - LogProbTolerance, 1 + LogProbTolerance);
        if (!IsCertain(item, tied, ReferenceDistribution.Of(logits, options))) return false;

        if (options.Cuts)
        {
            Assert.True(kept.Length == sampled.KeptCount[0], $"{what}: {sampled.KeptCount[0]} kept, reference {kept.Length}");
            Assert.Equal(kept.Where(id => !tied.Contains(id)), sampled.KeptIds[0].Where(id => id >= 0 && !tied.Contains(id)).Order());
        }
        var reference = kept.Zip(item.GetProperty("logprobs").EnumerateArray().Select(value => value.GetDouble())).ToDictionary(pair => pair.First, pair => pair.Second);
        foreach (var id in every.Where(id => !tied.Contains(id)))
            AssertClose(reference.GetValueOrDefault(id, double.NegativeInfinity), sampled.LogProb[id], tolerance, $"{what}: id {id}");
        return true;
    }

    private static bool IsCertain(JsonElement item, HashSet<long> tied, ReferenceDistribution own)
    {
        var margin = item.TryGetProperty("margin", out var given) ? given.ValueKind == JsonValueKind.Number ? given.GetDouble() : 1 : tied.Count > 0 ? 1 : own.Margin;
        return item.GetProperty("kept_in_float32_same").GetBoolean() && Math.Max(margin, own.Margin) >= UnsafeMargin;
    }

    private static void AssertClose(double expected, float found, double tolerance, string what) =>
        Assert.True(Math.Abs(found - expected) <= tolerance || (double.IsNegativeInfinity(expected) && float.IsNegativeInfinity(found)), $"{what} has {found}, reference {expected}");

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
        var probed = head.Sample(Repeat(logits, forced.Length), SamplingCase.Draws([.. forced.Select(_ => options)], new float[forced.Length]) with { Forced = forced, KeptLimit = logits.Length });
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
        Assert.Equal(found, ids.Length); // all of them: the limit is the vocabulary here
        var leastLikely = head.Sample(logits, SamplingCase.Draws([options], [0]) with { Forced = [ids[^1]] }).LogProb[0];
        var unsure = options.TopP < 1 ? (item.GetProperty("margin").GetDouble() + MassRounding) / Math.Exp(leastLikely) : 0;
        Assert.True(Math.Abs(found - expected) <= unsure, $"{what}: {found} kept, reference {expected}, tolerated {unsure}");
        if (found != expected) return;
        Assert.Equal((item.GetProperty("kept_id_sum").GetInt64(), item.GetProperty("kept_first").GetInt64(), item.GetProperty("kept_last").GetInt64()), (ids.Sum(), ids.Min(), ids.Max()));
    }

    private static GraphSession Head(int vocabulary, bool direct) => new(OnnxGraphWriter.HeadGraph(vocabulary, direct));

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
