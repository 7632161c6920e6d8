using Sapo.Core;

namespace Sapo.Parity.Graph;

/// <summary>The decode graph of every reference model, run by ONNX Runtime, against Hugging Face transformers.</summary>
public sealed class DecodeGraphTests : IDisposable
{
    // Another float32 implementation's rounding on logits of size about 10; a real mistake moves them by 0.5 and more.
    private const float LogProbTolerance = 5e-5f;

    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-graph-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void DecodeGraph_ForcedCompletions_GivesTheReferenceLogProbs()
    {
        var checkedFolders = 0;
        foreach (var model in GoldenModel.All(_scratch.FullName))
        {
            foreach (var (temperature, name) in new[] { (1f, "logp.t1"), (0.7f, "logp.t07") })
                CheckForced(model.Policy, model.Rows(), temperature, model.Floats(name), $"{model.Folder} {name}");
            checkedFolders++;
        }
        Golden.Report("decode graph, forced completions", checkedFolders);
    }

    [Fact]
    [Trait(Golden.TraitName, Golden.TraitValue)]
    public void DecodeGraph_Greedy_ContinuesAsTheReference()
    {
        var continuations = 0;
        foreach (var model in GoldenModel.All(_scratch.FullName))
            foreach (var reference in model.Continuations())
            {
                CheckGreedy(model.Policy, reference, model.Folder);
                continuations++;
            }
        Golden.Report("decode graph, greedy continuations", continuations);
    }

    private static void CheckForced(PublishedPolicy policy, GoldenRow[] rows, float temperature, float[] expected, string what)
    {
        var width = expected.Length / rows.Length;
        var longest = rows.Max(row => row.Tokens.Length);
        using var session = Open(policy, rows.Length, longest);
        var promptWidth = rows.Max(row => row.PromptLength);
        int[] lengths = [.. rows.Select(row => row.PromptLength)];
        var ids = rows.Select(row => Padded(row.Tokens[..row.PromptLength], promptWidth)).ToArray();
        var newTokens = lengths;
        for (var step = 0; ; step++)
        {
            var forced = rows.Select((row, i) => lengths[i] < row.Tokens.Length ? row.Tokens[lengths[i]] : 0L).ToArray();
            var sampled = session.Decode(ids, lengths, newTokens, Draws.Plain(rows.Length, temperature) with { Forced = forced });
            for (var i = 0; i < rows.Length; i++)
            {
                if (lengths[i] >= rows[i].Tokens.Length) continue;
                var reference = expected[i * width + lengths[i]];
                AssertClose(reference, sampled.LogProb[i], $"{what}: row {i} position {lengths[i]}");
                Assert.Equal(sampled.LogProb[i], sampled.UntruncatedLogProb[i]);
                Assert.Equal(forced[i], sampled.Token[i]);
            }
            lengths = [.. lengths.Select((length, i) => Math.Min(length + 1, rows[i].Tokens.Length))]; // a finished row idles in place
            if (rows.Select((row, i) => lengths[i] >= row.Tokens.Length).All(done => done)) return;
            ids = [.. forced.Select(token => new[] { token })];
            newTokens = [.. rows.Select(_ => 1)];
        }
    }

    private static void CheckGreedy(PublishedPolicy policy, GoldenContinuation reference, string folder)
    {
        using var session = Open(policy, 1, reference.Prompt.Length + reference.Tokens.Length);
        var input = reference.Prompt;
        var length = 0;
        for (var i = 0; i < reference.Tokens.Length; i++)
        {
            length += input.Length;
            var sampled = session.Decode([input], [length], [input.Length], Draws.Plain(1, temperature: 0));
            Assert.True(sampled.Token[0] == reference.Tokens[i], $"{folder}: greedy token {i} is {sampled.Token[0]}, reference {reference.Tokens[i]}");
            Assert.Equal(0, sampled.LogProb[0]);
            AssertClose(reference.LogProbs[i], sampled.UntruncatedLogProb[0], $"{folder}: greedy token {i}");
            input = [sampled.Token[0]];
        }
    }

    private static GraphSession Open(PublishedPolicy policy, int rows, int capacity) =>
        new(Path.Combine(policy.Folder, PublishedPolicy.DecodeGraphFile), rows, capacity);

    private static long[] Padded(long[] ids, int width) => [.. ids, .. new long[width - ids.Length]];

    private static void AssertClose(float expected, float actual, string what) =>
        Assert.True(Math.Abs(expected - actual) <= LogProbTolerance, $"{what}: {actual}, reference {expected}");
}
