namespace Sapo.Learner.Objectives;

/// <summary>
/// How far the current policy has moved from the anchor at one token (DPPO, arXiv 2602.04879). The binary forms look at the
/// sampled token against the rest; the top-k forms at the anchor's k most likely tokens against the rest. All are lower
/// bounds of the divergence over the vocabulary.
/// </summary>
/// <param name="name">binary-tv, binary-kl, topk-tv or topk-kl.</param>
/// <param name="topK">k of the top-k forms; 0 for the binary ones.</param>
/// <param name="includeSampled">Top-k: whether the sampled token joins the list where it is not in it.</param>
internal sealed class TokenDivergence(string name, int topK, bool includeSampled)
{
    /// <summary>The published code's guard of 1 - p in the binary KL.</summary>
    private const double BinaryGuard = 1e-8;

    /// <summary>The published code's smallest mass of the rest of the vocabulary.</summary>
    private const double SmallestRest = 1e-12;

    /// <summary>How many of the old policy's most likely tokens it looks at; 0 for the binary forms.</summary>
    public int TopK => topK;

    /// <summary>[n] D of every counted token.</summary>
    public double[] Of(CountedTokens tokens) => topK > 0 ? OverTopK(tokens) : Binary(tokens);

    private double[] Binary(CountedTokens tokens)
    {
        var divergences = new double[tokens.Count];
        for (int token = 0; token < tokens.Count; token++)
        {
            double logP = tokens.LogProbs[token], logQ = tokens.AnchorLogProbs[token];
            double p = Math.Exp(logP), q = Math.Exp(logQ);
            divergences[token] = name == "binary-tv"
                ? Math.Abs(p - q)
                : q * (logQ - logP) + (1 - q) * Math.Log((1 - q + BinaryGuard) / (1 - p + BinaryGuard));
        }
        return divergences;
    }

    private double[] OverTopK(CountedTokens tokens)
    {
        double[][] anchor = tokens.NeededValues("top-k probabilities of the anchor policy", batch => batch.Distributions?.AnchorTopK, name);
        double[][] current = tokens.NeededValues("top-k probabilities of the current policy", batch => batch.Distributions?.CurrentTopK, name);
        bool[]? contained = includeSampled
            ? tokens.NeededValues("membership of the sampled token in the top-k", batch => batch.Distributions?.SampledInTopK, name)
            : null;
        var divergences = new double[tokens.Count];
        for (int token = 0; token < tokens.Count; token++)
        {
            bool join = contained is not null && !contained[token];
            IEnumerable<(double Q, double P)> list = anchor[token].Zip(current[token]);
            if (join) list = list.Append((Math.Exp(tokens.AnchorLogProbs[token]), Math.Exp(tokens.LogProbs[token])));
            divergences[token] = Over([.. list]);
        }
        return divergences;
    }

    private double Over((double Q, double P)[] list)
    {
        double restQ = Math.Max(1 - list.Sum(entry => entry.Q), SmallestRest);
        double restP = Math.Max(1 - list.Sum(entry => entry.P), SmallestRest);
        return name == "topk-tv"
            ? (list.Sum(entry => Math.Abs(entry.P - entry.Q)) + Math.Abs(restP - restQ)) / 2
            : list.Sum(entry => Part(entry.Q, entry.P)) + Part(restQ, restP);
    }

    private static double Part(double q, double p) => q == 0 ? 0 : q * Math.Log(q / p);
}
