using Sapo.Core;
using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Learner.Batches;
using Sapo.Learner.Model;
using Sapo.Rollout;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using static TorchSharp.torch;

namespace Sapo.Parity.Models;

/// <summary>Learner and engine against llama.cpp on random Qwen3 models, whose weights are made here as the reference's were: a third engine, that shares no code with the others.</summary>
[Trait(Golden.TraitName, Golden.TraitValue)]
public sealed class LlamaCppTests(LlamaCppModels models) : IClassFixture<LlamaCppModels>
{
    // llama.cpp's own prefill and decode differ by 4e-6 on logits of size about 8, and lie 3e-6 from float64; ours may differ as much again, more in deeper models.
    private const double Tolerance = 3e-5;

    // llama.cpp multiplies 16-bit weights with hidden states that it rounds to their type. That moves logits by at most 0.01 (f16) and 0.075 (bf16),
    // by a float64 forward of five models with and without. A norm's weights forgotten in one layer of four move them by 0.07 to 0.4, a swapped matrix by 4.
    private const double F16Tolerance = 0.03, Bf16Tolerance = 0.2;

    private const long MostParameters = 150_000_000; // a model of more takes too long to make
    private const int MostForcedIds = 512; // of a larger vocabulary so many, evenly spread: the engine tells one id per row
    private const int Rows = 33; // one for the sequence, 32 to force ids in

    [Fact]
    public void Learner_RandomModel_GivesTheReferencesLogits()
    {
        var count = new GoldenCount("llama.cpp, learner");
        foreach (var (reference, model) in Models(count))
        {
            var found = new Differences(ToleranceOf(model.Type));
            var logits = LearnerLogits(models.Make(reference.Make, model).Source, reference.Tokens);
            for (var at = 0; at < logits.Length; at++)
            {
                var logSumExp = LogSumExp(logits[at]);
                found.Add("logsumexp", at, reference.LogSumExp[at], logSumExp);
                if (at + 1 < logits.Length) found.Add("log-prob", at, reference.NextLogProbs[at], logits[at][reference.Tokens[at + 1]] - logSumExp);
                foreach (var token in reference.Top[at])
                {
                    found.Add("top logit", at, token.Logit, logits[at][token.Id]);
                    found.Add("top log-prob", at, token.LogProb, logits[at][token.Id] - logSumExp);
                }
                var ranking = Enumerable.Range(0, logits[at].Length).OrderByDescending(id => logits[at][id]).Take(reference.Top[at].Length).ToArray();
                found.Ranked(at, reference.Top[at], ranking, [.. ranking.Select(id => logits[at][id] - logSumExp)]);
                if (reference.FullLogits.TryGetValue(at, out var all)) found.Add("logit", at, all, logits[at]);
            }
            count.Compared(found.Report("learner", reference.File));
        }
        count.Report();
    }

    [Theory]
    [InlineData(EngineOptions.Auto), InlineData("before")]
    public void DecodeSession_TeacherForced_GivesTheReferencesLogProbs(string prepack)
    {
        var count = new GoldenCount($"llama.cpp, engine with prepack {prepack}");
        foreach (var (reference, model) in Models(count))
        {
            var found = new Differences(ToleranceOf(model.Type));
            var policy = models.Make(reference.Make, model).Policy;
            var config = ModelConfigReader.Read(policy.Folder);
            var products = MatrixProductsOf.Options(new EngineOptions { Prepack = prepack }, policy.HasDirectGraph);
            using var rows = new RowBuffers(Rows, config.VocabSize);
            using var loader = new OrtPolicyLoader(config, rows, reference.Tokens.Length + 1, threads: 2, Precision.Fp32, products == MatrixProducts.Direct);
            using var session = loader.Load(policy, prepack: products == MatrixProducts.Before).Activate();
            ComparePrefilled(session, rows, reference, found);
            CompareStepwise(session, rows, reference, found);
            count.Compared(found.Report($"engine, {products}", reference.File));
        }
        count.Report();
    }

    /// <summary>Models of the files that are covered; the others are counted with the reason why not.</summary>
    private static IEnumerable<(LlamaCppReference Reference, RandomModel Model)> Models(GoldenCount count)
    {
        foreach (var reference in LlamaCppReference.All())
        {
            RandomModel? model = null;
            try
            {
                model = RandomModel.Parse(reference.Make);
            }
            catch (Exception failure) when (failure is FormatException or OverflowException)
            {
                count.Excluded($"{reference.File}, '{reference.Make}': {failure.Message}");
            }
            if (model?.Parameters > MostParameters) count.Excluded($"{reference.File}: {model.Parameters:N0} parameters are too many to make in a test");
            else if (model is not null) yield return (reference, model);
        }
    }

    // One token more at the end, so that the last position predicts something, too.
    private static double[][] LearnerLogits(string folder, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var checkpoint = HuggingFaceCheckpoint.Open(folder);
        using var parameters = new FlatParameters(checkpoint.Config, ScalarType.Float32, CPU, frozen: true);
        parameters.Load(checkpoint);
        using var batch = new PackedTokens([new TokenGroup(tokens[..1], [new TokenRow([.. tokens[1..], 0])], 1)], CPU);
        return [.. HostArrays.Double(new DecoderModel(checkpoint.Config, parameters).Logits(batch)).Chunk(checkpoint.Config.VocabSize)];
    }

    /// <summary>All tokens prefilled in one run; then each position in rows of its own, copies up to it, that are forced to take the ids asked for.</summary>
    private static void ComparePrefilled(IDecodeSession session, RowBuffers rows, LlamaCppReference reference, Differences found)
    {
        var (tokens, fullLogits) = (reference.Tokens, reference.FullLogits);
        if (tokens.Length > 1) session.Prefill(row: 0, tokens.AsSpan(..^1), position: 0);
        for (var at = 0; at < tokens.Length; at++)
        {
            var top = reference.Top[at].Take(GenerationRequest.MaxAlternatives).ToArray();
            int[] next = at + 1 < tokens.Length ? [tokens[at + 1]] : [];
            rows.WantedAlternatives.Span[1] = top.Length;
            var logProbs = Force(session, rows, at, tokens[at], [.. next, .. top.Select(token => token.Id)]);
            found.Ranked(at, top, [.. rows.AlternativeIdsOf(1).ToArray().Select(id => (int)id)], [.. rows.AlternativeLogProbsOf(1)]);
            rows.WantedAlternatives.Span[1] = 0;
            if (next.Length > 0) found.Add("log-prob", at, reference.NextLogProbs[at], logProbs[0]);
            found.Add("top log-prob", at, [.. top.Select(token => token.LogProb)], logProbs[next.Length..]);
            if (!fullLogits.TryGetValue(at, out var all)) continue;
            var step = Math.Max(1, all.Length / MostForcedIds);
            int[] ids = [.. Enumerable.Range(0, all.Length).Where(id => id % step == 0)];
            found.Add("logit - logsumexp", at, [.. ids.Select(id => all[id] - reference.LogSumExp[at])], Force(session, rows, at, tokens[at], ids));
        }
    }

    private static double[] Force(IDecodeSession session, RowBuffers rows, int at, int token, int[] ids)
    {
        var logProbs = new List<double>();
        for (var row = 1; row < Rows; row++) session.CopyRow(0, row, at);
        foreach (var chunk in ids.Chunk(Rows - 1))
        {
            for (var row = 1; row < Rows; row++) (rows.InputIds.Span[row], rows.Lengths.Span[row], rows.ForcedTokens.Span[row]) = (token, at, chunk[Math.Min(row, chunk.Length) - 1]);
            session.Decode(1, Rows - 1, truncate: false);
            for (var i = 0; i < chunk.Length; i++)
            {
                Assert.Equal(chunk[i], rows.SampledTokens.Span[1 + i]);
                logProbs.Add(rows.UntruncatedLogProbs.Span[1 + i]);
            }
        }
        return [.. logProbs];
    }

    /// <summary>One token per run from an empty row on, beside an idle one.</summary>
    private static void CompareStepwise(IDecodeSession session, RowBuffers rows, LlamaCppReference reference, Differences found)
    {
        (rows.InputIds.Span[1], rows.Lengths.Span[1], rows.ForcedTokens.Span[1]) = (RowBuffers.IdleRow, 0, RowBuffers.NoForcedToken);
        for (var at = 0; at + 1 < reference.Tokens.Length; at++)
        {
            (rows.InputIds.Span[0], rows.Lengths.Span[0], rows.ForcedTokens.Span[0]) = (reference.Tokens[at], at, reference.Tokens[at + 1]);
            session.Decode(0, 2, truncate: false);
            found.Add("log-prob stepwise", at, reference.NextLogProbsStepwise[at], rows.UntruncatedLogProbs.Span[0]);
        }
    }

    private static double LogSumExp(double[] logits)
    {
        var largest = logits.Max();
        return largest + Math.Log(logits.Sum(logit => Math.Exp(logit - largest)));
    }

    private static double ToleranceOf(WeightType type) => type switch { WeightType.F16 => F16Tolerance, WeightType.BF16 => Bf16Tolerance, _ => Tolerance };

    /// <summary>Holds numbers to a tolerance and remembers the largest difference of each kind.</summary>
    private sealed class Differences(double tolerance)
    {
        private readonly SortedDictionary<string, double> _largest = new(StringComparer.Ordinal);

        public void Add(string what, int position, double[] expected, double[] found)
        {
            Assert.Equal(expected.Length, found.Length);
            for (var i = 0; i < expected.Length; i++) Add(what, position, expected[i], found[i]);
        }

        public void Add(string what, int position, double expected, double found)
        {
            var difference = Math.Abs(expected - found);
            Assert.True(difference <= tolerance, $"{what} at position {position}: {found}, llama.cpp {expected}");
            _largest[what] = Math.Max(_largest.GetValueOrDefault(what), difference);
        }

        /// <summary>Rank by rank the same log-prob, and the same id unless the reference's neighbours are as good as equal.</summary>
        public void Ranked(int position, RankedToken[] expected, int[] ids, double[] logProbs)
        {
            Add("ranked log-prob", position, [.. expected.Select(token => token.LogProb)], logProbs);
            for (var rank = 0; rank < ids.Length; rank++)
                Assert.True(
                    expected[rank].Id == ids[rank] || expected.Any(token => token.Id == ids[rank] && Math.Abs(token.LogProb - expected[rank].LogProb) <= 2 * tolerance) || expected[rank].LogProb - expected[^1].LogProb <= 2 * tolerance,
                    $"Rank {rank} at position {position}: id {ids[rank]}, llama.cpp {expected[rank].Id}");
        }

        public string Report(string who, string file)
        {
            Console.WriteLine($"golden: llama.cpp, {who}, {file}: largest differences: {string.Join(", ", _largest.Select(pair => $"{pair.Key} {pair.Value:G2}"))}");
            return file;
        }
    }
}
