using Sapo.Core;

namespace Sapo.Learner.Objectives;

/// <summary>
/// How per-token terms x become one number: J = sum over tokens of c * x. B counts every completion submitted, T every
/// counted token of the whole mini-batch (all micro-batches), so accumulation over micro-batches changes nothing.
/// </summary>
public sealed record Aggregation
{
    /// <summary>(1/B) sum_i (1/|y_i|) sum_t x: SAPO, GRPO, GSPO.</summary>
    public const string SequenceMeanTokenMean = "seq-mean-token-mean";

    /// <summary>(1/T) sum_i sum_t x: DAPO, CISPO.</summary>
    public const string TokenMean = "token-mean";

    /// <summary>(1/B) sum_i sum_t x.</summary>
    public const string SequenceMeanTokenSum = "seq-mean-token-sum";

    /// <summary>(1/(B C)) sum_i sum_t x with a constant C: Dr.GRPO, DPPO.</summary>
    public const string SequenceMeanTokenSumNorm = "seq-mean-token-sum-norm";

    /// <summary>All names.</summary>
    public static IReadOnlyList<string> Names { get; } = [SequenceMeanTokenMean, TokenMean, SequenceMeanTokenSum, SequenceMeanTokenSumNorm];

    /// <summary>An aggregation by its name.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="normConstant">C, for seq-mean-token-sum-norm alone: the longest completion allowed, in tokens.</param>
    /// <exception cref="UserErrorException">Unknown name, or C missing, superfluous or not positive.</exception>
    public Aggregation(string name, double? normConstant = null)
    {
        if (!Names.Contains(name, StringComparer.Ordinal))
            throw new UserErrorException($"objective.aggregation is \"{name}\"", $"one of {string.Join(", ", Names)}", "Correct the name");
        bool needsConstant = name == SequenceMeanTokenSumNorm;
        if (needsConstant && normConstant is not > 0)
            throw new UserErrorException($"objective.normConstant is {normConstant?.ToString() ?? "missing"}", "a number above 0 with aggregation seq-mean-token-sum-norm",
                "Set it to the longest completion allowed, in tokens");
        if (!needsConstant && normConstant is not null)
            throw new UserErrorException($"objective.normConstant is set, but aggregation {name} does not use it", null, "Remove it, or use seq-mean-token-sum-norm");
        Name = name;
        NormConstant = normConstant;
    }

    /// <summary>One of <see cref="Names"/>.</summary>
    public string Name { get; }

    /// <summary>C, or null where the aggregation has none.</summary>
    public double? NormConstant { get; }

    /// <summary>c of the tokens of a row; 0 for a row without counted tokens, so nothing is ever divided by 0.</summary>
    /// <param name="rowTokens">|y_i|: counted tokens of the row.</param>
    /// <param name="totals">B and T of the whole mini-batch.</param>
    public double Coefficient(int rowTokens, BatchTotals totals) => rowTokens == 0 ? 0 : Name switch
    {
        SequenceMeanTokenMean => 1.0 / ((double)totals.Sequences * rowTokens),
        TokenMean => 1.0 / totals.Tokens,
        SequenceMeanTokenSum => 1.0 / totals.Sequences,
        _ => 1.0 / (totals.Sequences * NormConstant!.Value),
    };
}
