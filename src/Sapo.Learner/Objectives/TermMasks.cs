namespace Sapo.Learner.Objectives;

/// <summary>Masks that silence the policy term of some counted tokens; the denominators stay as they were.</summary>
internal static class TermMasks
{
    /// <summary>[N] true where a token's entropy reaches the quantile above which the share <paramref name="fraction"/> of all counted tokens lies.</summary>
    public static bool[] TopEntropy(ObjectiveBatch miniBatch, double fraction)
    {
        double[] entropies = miniBatch.OldEntropies
            ?? throw new InvalidDataException("topEntropyFraction needs the old policy's entropy of every token, but the batch has none.");
        double[] counted = [.. entropies.Where((_, token) => miniBatch.Mask is null || miniBatch.Mask[token])];
        double threshold = counted.Length == 0 ? 0 : Quantiles.Of(counted, 1 - fraction);
        return Array.ConvertAll(entropies, entropy => entropy >= threshold);
    }

    /// <summary>
    /// Off-policy sequence mask: [n] true where a token's term is dropped, that is, its advantage is negative and its completion's
    /// mean of (behaviour log-prob - current log-prob) exceeds the threshold.
    /// </summary>
    public static bool[] OffPolicy(CountedTokens tokens, double[] behaviour, double threshold)
    {
        var dropped = new bool[tokens.Count];
        for (int row = 0; row < tokens.Rows; row++)
        {
            (int start, int end, int length) = tokens.Row(row);
            double distance = 0;
            for (int token = start; token < end; token++) distance += behaviour[token] - tokens.LogProbs[token];
            for (int token = start; token < end; token++) dropped[token] = tokens.Advantages[token] < 0 && distance / length > threshold;
        }
        return dropped;
    }
}
