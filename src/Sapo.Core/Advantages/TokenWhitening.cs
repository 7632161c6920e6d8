namespace Sapo.Core.Advantages;

/// <summary>(x - mean) / sqrt(variance + epsilon) over all tokens of a rollout batch, the variance unbiased.</summary>
internal static class TokenWhitening
{
    /// <summary>Whitens tokens in place; fewer than two tokens become 0.</summary>
    public static void Apply(double[][][] tokens, double epsilon)
    {
        double[] all = [.. tokens.SelectMany(group => group).SelectMany(completion => completion)];
        if (all.Length == 0) return;
        double mean = all.Sum() / all.Length;
        double variance = all.Length < 2 ? 0 : all.Sum(value => (value - mean) * (value - mean)) / (all.Length - 1);
        double scale = all.Length < 2 ? 0 : 1 / Math.Sqrt(variance + epsilon);
        foreach (double[] completion in tokens.SelectMany(group => group))
            for (int token = 0; token < completion.Length; token++) completion[token] = (completion[token] - mean) * scale;
    }

    /// <summary>[groups][G] the mean over each completion's tokens; 0 for a completion without tokens.</summary>
    public static double[][] Means(double[][][] tokens) =>
        [.. tokens.Select(group => group.Select(completion => completion.Length == 0 ? 0 : completion.Average()).ToArray())];

    /// <summary>The lengths that token-level estimators cannot do without.</summary>
    public static int[] LengthsOf(AdvantageGroup group, string estimator) =>
        group.Lengths ?? throw new InvalidDataException($"{estimator} needs the length of every completion, but prompt {group.PromptId} has none.");
}
