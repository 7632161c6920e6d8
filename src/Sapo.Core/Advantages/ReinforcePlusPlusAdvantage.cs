namespace Sapo.Core.Advantages;

/// <summary>
/// REINFORCE++ (arXiv 2501.03262): token returns Ret_t = sum over k &gt;= t of gamma^(k-t) rho_k with rho_k = -beta (o_k - ref_k),
/// the reward added at the last token, whitened over all tokens of the batch. An advantage per token.
/// A completion without a reward is outside the statistics and gets 0.
/// </summary>
/// <param name="klCoefficient">beta; 0: no penalty, and reference log-probs are not needed.</param>
/// <param name="gamma">Discount.</param>
/// <param name="whiteningEpsilon">Added to the variance; 1e-8 as in verl.</param>
public sealed class ReinforcePlusPlusAdvantage(double klCoefficient, double gamma, double whiteningEpsilon) : IAdvantageEstimator
{
    /// <inheritdoc />
    public string Name => "reinforce++";

    /// <inheritdoc />
    public AdvantageResult Estimate(AdvantageInput input)
    {
        input.Validate();
        double?[][] rewards = input.CombinedRewards();
        var tokens = new double[rewards.Length][][];
        for (int index = 0; index < rewards.Length; index++)
        {
            AdvantageGroup group = input.Groups[index];
            int[] lengths = TokenWhitening.LengthsOf(group, Name);
            tokens[index] = [.. rewards[index].Select((reward, completion) => reward is { } score ? Returns(group, completion, lengths[completion], score) : [])];
        }
        TokenWhitening.Apply(tokens, whiteningEpsilon);
        for (int index = 0; index < rewards.Length; index++)
            for (int completion = 0; completion < rewards[index].Length; completion++)
                if (rewards[index][completion] is null) tokens[index][completion] = new double[input.Groups[index].Lengths![completion]];
        return Estimation.Result(rewards, TokenWhitening.Means(tokens), tokens);
    }

    private double[] Returns(AdvantageGroup group, int completion, int length, double reward)
    {
        var returns = new double[length];
        double running = 0;
        for (int token = length - 1; token >= 0; token--)
        {
            running = running * gamma + (token == length - 1 ? reward : 0) - Penalty(group, completion, token);
            returns[token] = running;
        }
        return returns;
    }

    private double Penalty(AdvantageGroup group, int completion, int token)
    {
        if (klCoefficient == 0) return 0;
        if (group.OldLogProbs is null || group.ReferenceLogProbs is null)
            throw new InvalidDataException($"{Name} with a KL coefficient needs old and reference log-probs, but prompt {group.PromptId} has none.");
        return klCoefficient * (group.OldLogProbs[completion][token] - group.ReferenceLogProbs[completion][token]);
    }
}
