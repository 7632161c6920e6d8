using System.Text.Json;
using Sapo.Core;
using Sapo.Sync.Graphs;

namespace Sapo.Parity.Graph;

/// <summary>Draws over a whole vocabulary: how exact the edges between tokens are, and whether tokens come as often as they should.</summary>
public sealed class LargeVocabularyTests
{
    private const int Rows = 16;
    private const double Grid = 1.0 / (1 << 24); // uniform numbers are multiples of it
    private const double EdgeTolerance = 1e-6; // the reference set's own for draws in float32
    private const double CriticalAt31 = 84.2; // chi-square with 31 degrees of freedom is above it once in a million; the draws are always the same, so the test never wavers, and another set of vectors passes too

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Draw_FullVocabulary_HasItsEdgesWhereFloat64HasThem(bool direct)
    {
        var checkedVectors = 0;
        foreach (var (what, logits, cumulative) in Distributions())
        {
            using var head = new GraphSession(OnnxGraphWriter.HeadGraph(logits.Length, direct));
            int[] ids = [.. Enumerable.Range(1, Rows).Select(i => Array.FindIndex(cumulative, edge => edge > i / (Rows + 1.0)))];
            var found = Edges(head, logits, ids, cumulative);
            var error = ids.Zip(found, (id, edge) => Math.Abs(edge - cumulative[id])).Max();
            Console.WriteLine($"cumulative sum over {logits.Length:N0}, {what}: largest error of {Rows} edges {error:0.0e+0}; added one by one in float32 {Sequential(logits, cumulative):0.0e+0}");
            Assert.InRange(error, 0, Grid + EdgeTolerance);
            checkedVectors++;
        }
        Golden.Report("edges over a full vocabulary", checkedVectors);
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void Draw_FullVocabulary_GivesTokensAsOftenAsTheirProbabilities(bool direct)
    {
        const int Bins = 32, Draws = 64 * Bins;
        var checkedVectors = 0;
        foreach (var (what, logits, cumulative) in Distributions())
        {
            using var head = new GraphSession(OnnxGraphWriter.HeadGraph(logits.Length, direct));
            var (counts, masses) = (new double[Bins], new double[Bins]);
            for (var id = 0; id < logits.Length; id++) masses[Bin(id)] += cumulative[id] - (id == 0 ? 0 : cumulative[id - 1]);
            for (var first = 0; first < Draws; first += Rows)
            {
                float[] uniforms = [.. Enumerable.Range(first, Rows).Select(draw => CounterRandom.Uniform(2026, checkedVectors, 0, draw))];
                foreach (var token in Sample(head, logits, uniforms)) counts[Bin((int)token)]++;
            }
            var square = counts.Zip(masses, (count, mass) => mass == 0 ? 0 : Math.Pow(count - Draws * mass, 2) / (Draws * mass)).Sum();
            Console.WriteLine($"chi-square of {Draws:N0} draws over {logits.Length:N0}, {what}: {square:0.0} at up to {Bins - 1} degrees of freedom");
            Assert.InRange(square, 0, CriticalAt31);
            checkedVectors++;

            int Bin(int id) => Math.Min(Bins - 1, (int)(Bins * (id == 0 ? 0 : cumulative[id - 1])));
        }
        Golden.Report("chi-square over a full vocabulary", checkedVectors);
    }

    /// <summary>Where each edge is that the graph draws by: the least uniform number that gives a token beyond the id. Found by halving, near where it should be.</summary>
    private static double[] Edges(GraphSession head, float[] logits, int[] ids, double[] cumulative)
    {
        const int Around = 1 << 9;
        long[] low = [.. ids.Select(id => Math.Max(0, (long)(cumulative[id] / Grid) - Around))], high = [.. low.Select(start => Math.Min(1 << 24, start + 2 * Around))];
        while (high.Zip(low, (end, start) => end - start).Max() > 1)
        {
            long[] middle = [.. low.Zip(high, (start, end) => (start + end) / 2)];
            var tokens = Sample(head, logits, [.. middle.Select(step => (float)(step * Grid))]);
            for (var i = 0; i < ids.Length; i++)
                if (tokens[i] > ids[i]) high[i] = middle[i];
                else low[i] = middle[i];
        }
        return [.. high.Select(step => step * Grid)];
    }

    private static long[] Sample(GraphSession head, float[] logits, float[] uniforms) =>
        head.Sample([.. Enumerable.Repeat(logits, uniforms.Length).SelectMany(row => row)], Draws.Plain(uniforms.Length) with { Uniform = uniforms }).Token;

    /// <summary>Every distinct vector of the reference set, with its running sum of probabilities.</summary>
    private static IEnumerable<(string What, float[] Logits, double[] Cumulative)> Distributions()
    {
        if (!File.Exists(Golden.PathOf("sampling", "vocabulary_151936.json"))) yield break;
        using var document = JsonDocument.Parse(File.ReadAllBytes(Golden.PathOf("sampling", "vocabulary_151936.json")));
        foreach (var item in document.RootElement.GetProperty("cases").EnumerateArray().DistinctBy(item => (item.GetProperty("kind").GetString(), item.GetProperty("scale").GetDouble(), item.GetProperty("shift").GetUInt64())))
        {
            var logits = FormulaLogits.Make(item, item.GetProperty("vocab").GetInt32());
            var weights = Weights(logits);
            var (total, sum) = (weights.Sum(), 0.0);
            yield return ($"{item.GetProperty("kind").GetString()} {item.GetProperty("scale")}", logits, [.. weights.Select(weight => (sum += weight) / total)]);
        }
    }

    private static double Sequential(float[] logits, double[] cumulative)
    {
        var (weights, total, sum, worst) = (Weights(logits), Weights(logits).Sum(), 0f, 0.0);
        for (var id = 0; id < weights.Length; id++) worst = Math.Max(worst, Math.Abs((sum += (float)(weights[id] / total)) - cumulative[id]));
        return worst;
    }

    private static double[] Weights(float[] logits)
    {
        double most = logits.Max();
        return [.. logits.Select(logit => Math.Exp(logit - most))];
    }
}
